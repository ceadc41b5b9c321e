"""The two items of a checkpoint, `state` and `position`: how each is read.

    registry = checkpoint_items.handlers()
    checkpoint_items.check_same_model(metadata, abstract_state, path)
    parameters = checkpoint_items.read_parameters(path / 'state', tree)

Source: Orbax.
"""

import base64
import functools
import operator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from bertjax.errors import UserError
from bertjax.parallel import processes
from bertjax.runs import checksums


class _StateHandler(checksums.Checksummed, ocp.StandardCheckpointHandler):
  pass


class _JsonHandler(checksums.Checksummed, ocp.JsonCheckpointHandler):
  pass


def handlers() -> ocp.handlers.DefaultCheckpointHandlerRegistry:
  """Returns what writes and reads each item, with checksums."""
  registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
  state, position = _StateHandler(), _JsonHandler()
  registry.add('state', ocp.args.StandardSave, state)
  registry.add('state', ocp.args.StandardRestore, state)
  registry.add('position', ocp.args.JsonSave, position)
  registry.add('position', ocp.args.JsonRestore, position)
  return registry


def check_same_model(metadata, abstract_state, path: epath.Path):
  """Raises UserError unless names, shapes and dtypes are the same."""
  there, here = _describe(metadata.tree), _describe(abstract_state)
  differences = [
    f'{name} is {there.get(name, "absent")} there'
    f' and {here.get(name, "absent")} here'
    for name in sorted({*there, *here})
    if there.get(name) != here.get(name)
  ]
  if differences:
    more = f' (and {len(differences) - 3} more)' if differences[3:] else ''
    raise UserError(
      f'checkpoint {path} is of another model, vocabulary or optimizer: '
      + ', '.join(differences[:3])
      + more
      + '; set RUN_DIR to another'
      ' directory, or the configuration to that of the checkpoint'
    )


def _describe(tree) -> dict[str, str]:
  """Returns name -> 'float32[2, 3]' of the arrays in a tree."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): (
      f'{np.dtype(leaf.dtype).name}{list(leaf.shape)}'
    )
    for path, leaf in leaves
    if hasattr(leaf, 'shape')
  }


def read_parameters(path: epath.Path, tree: dict[str, Any]) -> Any:
  """Reads `parameters` of a state as numpy arrays, and nothing else of it.

  Args:
    path: of the item `state`.
    tree: of the metadata of its arrays.
  """
  wanted = {
    name: part
    if name == 'parameters'
    else jax.tree.map(lambda _: ocp.PLACEHOLDER, part)
    for name, part in tree.items()
  }
  as_numpy = jax.tree.map(
    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
  )
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
    restored = reader.restore(
      path, args=ocp.args.PyTreeRestore(item=wanted, restore_args=as_numpy)
    )
  return restored['parameters']


def to_json(position: dict[str, bytes]) -> dict[str, str]:
  """Returns the positions of all processes as base64."""
  mine = {
    name: base64.b64encode(content).decode()
    for name, content in position.items()
  }
  return functools.reduce(operator.or_, processes.gather(mine))


def from_json(position: dict[str, str]) -> dict[str, bytes]:
  """Returns what `to_json` was given, of all processes."""
  return {name: base64.b64decode(text) for name, text in position.items()}
