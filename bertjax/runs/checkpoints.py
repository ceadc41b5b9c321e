"""Checkpoints: the state and the data's position, in one atomic directory.

    with Checkpoints('runs/x/checkpoints', keep=3, keep_every=10_000) as saved:
      restored = saved.restore(abstract_state)
      state, position, step = restored or (fresh_state, {}, 0)
      saved.save(step, state, {'train': iterator_bytes})  # returns at once

A checkpoint is a directory named by its step, with two items: `state`, the
arrays as Orbax writes them, and `position`, JSON. It is written under another
name in the background and renamed when complete, so a killed run leaves either
all of it or nothing. The files of both items are checked (see `checksums`)
before they are restored.

The only file that knows Orbax. With `orbax.checkpoint.v1`,
`training.Checkpointer` takes the place of CheckpointManager,
`save_checkpointables_async` and `load_checkpointables` that of
`args.Composite`, and the `save` of a CheckpointableHandler, which is awaited to
its end, that of `finalize`. Source: Orbax.
"""

import base64
import contextlib
import logging
import re
import shutil
import sys
import time
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from bertjax.errors import UserError
from bertjax.parallel import processes
from bertjax.runs import checksums, differences, output_files

_STATE, _POSITION = 'state', 'position'
# A step; what is being written; what was moved aside, see `restore`.
_KNOWN = re.compile(r'(0|[1-9]\d*)(\.(corrupt-|orbax-checkpoint-tmp).*)?')


class _Checked(ocp.CheckpointHandler):
  def finalize(self, directory: epath.Path) -> None:
    # On one process, in the background, after all processes have written and
    # before the checkpoint gets its name.
    super().finalize(directory)
    checksums.write(directory)


class _StateHandler(_Checked, ocp.StandardCheckpointHandler):
  """Writes arrays, and their checksums."""


class _JsonHandler(_Checked, ocp.JsonCheckpointHandler):
  """Writes JSON, and its checksum."""


class Checkpoints(contextlib.AbstractContextManager['Checkpoints']):
  """The checkpoints of one run; the latest `keep` of them stay.

  Args:
    directory: where they lie; made if missing.
    keep: how many of the latest to keep.
    keep_every: also keep, for good, each whose step is a multiple of this.
        Step 0 is always kept: it is what every study of training starts from.
    read_only: for readers of a run that may be going on; changes nothing.

  Raises:
    UserError: the directory cannot be made or written; so do all methods that
      write.
  """

  def __init__(
    self,
    directory: str,
    keep: int = 3,
    keep_every: int | None = None,
    read_only: bool = False,
  ):
    # Orbax logs a traceback of what it also raises; once is enough.
    for name in ('absl', 'asyncio'):
      logging.getLogger(name).addFilter(_is_not_from_orbax)
    self._directory = epath.Path(directory).resolve()
    self._read_only = read_only
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      keep_period=keep_every or sys.maxsize,  # 0 is a multiple of any number
      cleanup_tmp_directories=not read_only,
      create=not read_only,
      read_only=read_only,
      # In the background, a failure to make the directory is noticed only by a
      # timeout of minutes.
      async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
    )
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    state, position = _StateHandler(), _JsonHandler()
    registry.add(_STATE, ocp.args.StandardSave, state)
    registry.add(_STATE, ocp.args.StandardRestore, state)
    registry.add(_POSITION, ocp.args.JsonSave, position)
    registry.add(_POSITION, ocp.args.JsonRestore, position)
    with self._explain_failure():
      self._manager = ocp.CheckpointManager(
        self._directory, options=options, handler_registry=registry
      )

  def __exit__(self, *_: object) -> None:
    """Completes the last save and frees threads."""
    with self._explain_failure():
      self._manager.close()

  def steps(self) -> list[int]:
    """Returns the steps of complete checkpoints, ascending, as on disk."""
    return sorted(self._manager.all_steps(read=True))

  def save(
    self, step: int, state: Any, position: Mapping[str, bytes] | None = None
  ) -> None:
    """Starts to save; the arrays may be donated as soon as this returns.

    Orbax has copied them from an accelerator by then; on CPU it holds a view,
    and jax donates no array that is viewed. Waits for the save before. Does
    nothing if the step is there already.

    Args:
      step: updates made so far.
      state: pytree of arrays.
      position: opaque bytes of each of this process's data streams, named
        uniquely over all processes.

    Raises:
      UserError: this checkpoint, or the one before, could not be written.
    """
    self.wait()
    if step in self._manager.all_steps():
      return
    self._check_space(state)
    mine = {
      name: base64.b64encode(content).decode()
      for name, content in (position or {}).items()
    }
    everyones = dict(ChainMap(*processes.gather(mine)))
    with self._explain_failure():
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          position=ocp.args.JsonSave(everyones),
        ),
        force=True,
      )

  def restore(
    self, abstract_state: Any
  ) -> tuple[Any, dict[str, bytes], int] | None:
    """Reads the latest undamaged checkpoint.

    Damaged ones after it are reported and moved aside (`300.corrupt-...`), so
    that the run can make them again.

    Args:
      abstract_state: pytree of `jax.ShapeDtypeStruct` with shardings; each
        array is read onto the devices that are to hold it.

    Returns:
      the state, the positions of all processes' streams, and the step; None
      if there is no checkpoint.

    Raises:
      UserError: it belongs to another model, vocabulary or step, or all are
        damaged.
    """
    self.wait()
    step = self._find_whole()
    if step is None:
      return None
    if different := differences.between(
      _describe(self._shapes(step)), _describe(abstract_state)
    ):
      raise UserError(
        f'checkpoint {self._folder(step)} is of another model, vocabulary or '
        f'optimizer: {differences.listed(different)}; set RUN_DIR to another '
        'directory, or the configuration to that of the checkpoint'
      )
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract_state),
        position=ocp.args.JsonRestore(),
      ),
    )
    position = {
      name: base64.b64decode(text) for name, text in restored[_POSITION].items()
    }
    return restored[_STATE], position, step

  def parameters(self, step: int | None = None) -> tuple[Any, int] | None:
    """Reads the parameters alone, of the latest undamaged step or of `step`.

    Needs no model and no optimizer, and reads nothing of the latter.

    Returns:
      nested dict of numpy arrays, and the step; None if there is no checkpoint.

    Raises:
      UserError: `step` is not there or damaged, or all are; its folder holds
        another step.
    """
    step = self._find_whole(step)
    return None if step is None else (self._read(step, 'parameters'), step)

  def remove_after(self, step: int) -> None:
    """Removes checkpoints of later steps, which a resumed run makes again."""
    for later in self.steps():
      if later > step:
        self._manager.delete(later)

  def wait(self) -> None:
    """Waits until the last save is complete; raises UserError if it failed."""
    with self._explain_failure():
      self._manager.wait_until_finished()

  def _folder(self, step: int) -> epath.Path:
    return self._directory / str(step)

  def _shapes(self, step: int) -> Any:
    """Returns the saved state's tree, of leaves with `shape` and `dtype`."""
    return self._manager.item_metadata(step)[_STATE].tree

  def _read(self, step: int, name: str) -> Any:
    """Returns one part of a saved state, its leaves as numpy arrays."""
    wanted = {name: self._shapes(step)[name]}
    as_numpy = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
      restored = reader.restore(
        self._folder(step) / _STATE,
        args=ocp.args.PyTreeRestore(
          item=wanted, restore_args=as_numpy, partial_restore=True
        ),
      )
    return restored[name]

  def _find_whole(self, step: int | None = None) -> int | None:
    """Returns `step`, or the latest undamaged one, moving others aside."""
    steps = self.steps()
    self._check_names()
    if step is not None:
      damage = self._damage(step) if step in steps else 'not there'
      if damage:
        raise UserError(
          f'checkpoint {self._folder(step)} cannot be read'
          f' ({damage}); choose another of the steps {steps}'
        )
      self._check_step(step)
      return step
    damaged: dict[int, str] = {}
    for candidate in reversed(steps):
      damage = self._damage(candidate)
      if not damage:
        for later, reason in damaged.items():
          self._move_aside(later, reason)
        self._check_step(candidate)
        return candidate
      damaged[candidate] = damage
    if damaged:
      told = ', '.join(f'{step}: {reason}' for step, reason in damaged.items())
      raise UserError(
        f'all checkpoints in {self._directory} are damaged ({told}); put copies'
        ' of them there, or set RUN_DIR to another directory to start anew'
      )
    return None

  def _check_names(self) -> None:
    """Tells of checkpoints in folders that have not the name of a step.

    Raises:
      UserError: there is no other, but for that of step 0.
    """
    for folder in self._directory.glob('*'):
      if not _KNOWN.fullmatch(folder.name) and (folder / _STATE).is_dir():
        told = (
          f'{folder} holds a checkpoint, but its name is no step, so it was '
          'renamed or copied; give it the name of its step, or take it away'
        )
        if not any(self.steps()):
          raise UserError(told)
        print(f'warning: {told}', file=sys.stderr)

  def _check_step(self, step: int) -> None:
    """Refuses the checkpoint of another step, in a folder of this name."""
    if 'step' not in self._shapes(step):
      return
    inside = int(self._read(step, 'step'))
    if inside != step:
      raise UserError(
        f'checkpoint {self._folder(step)} holds the state of step {inside}, so '
        'it was renamed or copied; give each folder the name of its step, or '
        'take this one away'
      )

  def _damage(self, step: int) -> str | None:
    """Says what is wrong with a checkpoint; process 0 decides for all."""
    return processes.from_first(
      lambda: (
        checksums.find_damage(self._folder(step) / _STATE)
        or checksums.find_damage(self._folder(step) / _POSITION)
      )
    )

  def _move_aside(self, step: int, damage: str) -> None:
    source = self._folder(step)
    if processes.is_first():
      print(
        f'warning: checkpoint {source} is damaged ({damage});'
        ' using the one before it',
        flush=True,
      )
      if not self._read_only:
        source.rename(f'{source}.corrupt-{time.time():.0f}')
    processes.wait(f'moved aside {step}')
    self._manager.reload()

  def _check_space(self, state: Any) -> None:
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    free = shutil.disk_usage(self._directory).free
    if free < needed:
      raise UserError(
        f'a checkpoint takes up to {needed / 1e6:.1f} MB and'
        f' {self._directory} has {free / 1e6:.1f} MB left; earlier'
        ' checkpoints are as they were; free space there or set RUN_DIR'
      )

  def _explain_failure(self) -> contextlib.AbstractContextManager[None]:
    return output_files.explain_failure(
      f'a checkpoint into {self._directory} (earlier ones are as they were)'
    )


def _describe(tree: Any) -> dict[str, str]:
  """Returns name -> 'float32[2, 3]' of the arrays in a tree."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): (
      f'{np.dtype(leaf.dtype).name}{list(leaf.shape)}'
    )
    for path, leaf in leaves
    if hasattr(leaf, 'shape')
  }


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
  text = record.getMessage() if record.name == 'asyncio' else record.pathname
  return 'orbax' not in text
