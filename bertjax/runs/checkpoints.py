"""Checkpoints: the state and the data's position, in one atomic directory.

    with Checkpoints('runs/x/checkpoints', keep=3, keep_every=10_000) as saved:
      restored = saved.restore(abstract_state)
      state, position, step = restored or (fresh_state, None, 0)
      saved.save(step, state, {'train': iterator_bytes})  # returns at once

A checkpoint is a directory named by its step, with two items: `state`, the
arrays as Orbax writes them, and `position`, JSON. It is written under another
name in the background and renamed when complete, so a killed run leaves either
all of it or nothing. The files of both items are checked (see `checksums`)
before they are restored.

Source: Orbax, behind `orbax_store`.
"""

import base64
import contextlib
import functools
import operator
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from bertjax.errors import UserError
from bertjax.parallel import processes
from bertjax.runs import checksums, orbax_store


class Checkpoints:
  """The checkpoints of one run; the latest `keep` of them stay.

  Args:
    directory: where they lie; made if missing.
    keep: how many of the latest to keep.
    keep_every: also keep, for good, each whose step is a multiple of this.
        Step 0 is always kept: it is what every study of training starts from.
    read_only: for readers of a run that may be going on; changes nothing.

  Raises:
    UserError: the directory cannot be made or written.
  """

  def __init__(
    self,
    directory: str,
    keep: int = 3,
    keep_every: int | None = None,
    read_only: bool = False,
  ):
    self._directory = epath.Path(directory).resolve()
    self._read_only = read_only
    with self._explain_failure():
      self._store = orbax_store.Store(
        self._directory, keep, keep_every, read_only
      )

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def steps(self) -> list[int]:
    """Returns the steps of complete checkpoints, ascending."""
    return self._store.steps()

  def save(
    self, step: int, state: Any, position: dict[str, bytes] | None = None
  ) -> None:
    """Starts to save; the arrays may be donated as soon as this returns.

    Waits for the save before. Does nothing if the step is there already.

    Args:
      step: updates made so far.
      state: pytree of arrays.
      position: opaque bytes of each of this process's data streams, named
        uniquely over all processes.

    Raises:
      UserError: this checkpoint, or the one before, could not be written.
    """
    self.wait()
    if self._store.has(step):
      return
    self._check_space(state)
    with self._explain_failure():
      self._store.save(step, state, _to_json(position or {}))

  def restore(
    self, abstract_state: Any, step: int | None = None
  ) -> tuple[Any, dict[str, bytes] | None, int] | None:
    """Reads the latest undamaged checkpoint, or that of `step`.

    A damaged one is reported and moved aside (`300.corrupt-...`), so that the
    run can make it again.

    Args:
      abstract_state: pytree of `jax.ShapeDtypeStruct` with shardings; each
        array is read onto the devices that are to hold it.
      step: which one; None is the latest.

    Returns:
      the state, the positions of all processes' streams, and the step; None
      if there is no checkpoint.

    Raises:
      UserError: it belongs to another model or vocabulary, or `step` is not
        there.
    """
    self.wait()
    step = self._find_whole(step)
    if step is None:
      return None
    _check_same_model(
      self._store.shapes(step), abstract_state, self._store.folder(step)
    )
    state, position = self._store.restore(step, abstract_state)
    return state, _from_json(position) or None, step

  def parameters(self, step: int | None = None) -> tuple[Any, int] | None:
    """Reads the parameters alone, of the latest undamaged step or of `step`.

    Needs no model and no optimizer, and reads nothing of the latter.

    Returns:
      nested dict of numpy arrays, and the step; None if there is no checkpoint.

    Raises:
      UserError: `step` is not there or damaged.
    """
    step = self._find_whole(step)
    return None if step is None else (self._store.parameters(step), step)

  def remove_after(self, step: int) -> None:
    """Removes checkpoints of later steps, which a resumed run makes again."""
    for later in self.steps():
      if later > step:
        self._store.delete(later)

  def wait(self) -> None:
    """Waits until the last save is complete; raises UserError if it failed."""
    with self._explain_failure():
      self._store.wait()

  def close(self) -> None:
    """Completes the last save and frees threads; the object is then spent."""
    with self._explain_failure():
      self._store.close()

  def _find_whole(self, step: int | None) -> int | None:
    """Returns `step`, or the latest undamaged one, moving others aside."""
    steps = self.steps()
    if step is not None:
      damage = self._damage(step) if step in steps else 'not there'
      if damage:
        raise UserError(
          f'checkpoint {self._store.folder(step)} cannot be read'
          f' ({damage}); choose another of the steps {steps}'
        )
      return step
    for candidate in reversed(steps):
      damage = self._damage(candidate)
      if not damage:
        return candidate
      self._move_aside(candidate, damage)
    return None

  def _damage(self, step: int) -> str | None:
    """Says what is wrong with a checkpoint; process 0 decides for all."""
    damage = None
    if jax.process_index() == 0:
      for item in self._store.items(step):
        damage = damage or checksums.find_damage(item)
    is_damaged = np.asarray(damage is not None)
    if multihost_utils.broadcast_one_to_all(is_damaged):
      return damage or 'see process 0'
    return None

  def _move_aside(self, step: int, damage: str) -> None:
    source = self._store.folder(step)
    if jax.process_index() == 0:
      print(
        f'warning: checkpoint {source} is damaged ({damage});'
        ' using the one before it',
        flush=True,
      )
      if not self._read_only:
        source.rename(f'{source}.corrupt-{time.time():.0f}')
    multihost_utils.sync_global_devices(f'moved aside {step}')
    self._store.reload()

  def _check_space(self, state: Any) -> None:
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    if not os.path.isdir(self._directory):  # a bucket
      return
    free = shutil.disk_usage(self._directory).free
    if free < needed:
      raise UserError(
        f'a checkpoint takes up to {needed / 1e6:.1f} MB and'
        f' {self._directory} has {free / 1e6:.1f} MB left; earlier'
        ' checkpoints are as they were; free space there or set RUN_DIR'
      )

  @contextlib.contextmanager
  def _explain_failure(self) -> Iterator[None]:
    """Turns what the file system refuses into one line for the user."""
    try:
      yield
    except (OSError, ValueError) as error:
      # TensorStore raises ValueError with the operating system's code in it.
      if not isinstance(error, OSError) and 'os_error_code' not in str(error):
        raise
      reason = str(error).splitlines()[0]
      if len(reason) > 200:  # the end holds the cause, the start the paths
        reason = '...' + reason[-200:]
      raise UserError(
        f'cannot write a checkpoint into {self._directory}: {reason}; earlier'
        ' checkpoints are as they were; free space there or set RUN_DIR'
      ) from error


def _check_same_model(there: Any, here: Any, path: epath.Path) -> None:
  """Raises UserError unless both trees have the same names, shapes, dtypes."""
  theirs, ours = _describe(there), _describe(here)
  differences = [
    f'{name} is {theirs.get(name, "absent")} there'
    f' and {ours.get(name, "absent")} here'
    for name in sorted({*theirs, *ours})
    if theirs.get(name) != ours.get(name)
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


def _to_json(position: Mapping[str, bytes]) -> dict[str, str]:
  """Returns the positions of all processes as base64."""
  mine = {
    name: base64.b64encode(content).decode()
    for name, content in position.items()
  }
  return functools.reduce(operator.or_, processes.gather(mine))


def _from_json(position: Mapping[str, str]) -> dict[str, bytes]:
  """Returns what `_to_json` was given, of all processes."""
  return {name: base64.b64decode(text) for name, text in position.items()}
