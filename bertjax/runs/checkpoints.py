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

Source: Orbax.
"""

import contextlib
import logging
import os
import shutil
import time
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import preservation_policy

from bertjax.errors import UserError
from bertjax.runs import checkpoint_items, checksums


class Checkpoints:
  """The checkpoints of one run; the latest `keep` of them stay.

  Args:
    directory: where they lie; made when missing.
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
    # Orbax logs a traceback of what it also raises; once is enough.
    for name in ('absl', 'asyncio'):
      logging.getLogger(name).addFilter(_is_not_from_orbax)
    self._directory = epath.Path(directory).resolve()
    self._read_only = read_only
    policies = [
      preservation_policy.LatestN(keep),
      preservation_policy.CustomSteps([0]),
    ]
    if keep_every:
      policies.append(preservation_policy.EveryNSteps(keep_every))
    options = ocp.CheckpointManagerOptions(
      preservation_policy=preservation_policy.AnyPreservationPolicy(policies),
      cleanup_tmp_directories=not read_only,
      create=not read_only,
      read_only=read_only,
      # In the background, a failure to make the directory is noticed only
      # by a timeout of minutes.
      async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
    )
    with self._explain_failure():
      self._manager = ocp.CheckpointManager(
        self._directory,
        options=options,
        handler_registry=checkpoint_items.handlers(),
      )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def steps(self) -> list[int]:
    """Returns the steps of complete checkpoints, ascending."""
    return sorted(self._manager.all_steps(read=True))

  def save(
    self, step: int, state: Any, position: dict[str, bytes] | None = None
  ):
    """Starts to save; the arrays may be donated as soon as this returns.

    (Orbax has copied them from an accelerator by then; on CPU it holds a view,
    and jax donates no array that is viewed.) A step that is there already is
    not saved again. Waits for the save before.

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
    with self._explain_failure():
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          position=ocp.args.JsonSave(checkpoint_items.to_json(position or {})),
        ),
        force=True,
      )

  def restore(
    self, abstract_state: Any, step: int | None = None
  ) -> tuple[Any, dict[str, bytes] | None, int] | None:
    """Reads the latest checkpoint that is whole, or that of `step`.

    One that is damaged is reported and moved aside (`300.corrupt-...`), so
    that the run can make it again.

    Args:
      abstract_state: pytree of `jax.ShapeDtypeStruct` with shardings; each
        array is read onto the devices that are to hold it.
      step: which one; None is the latest.

    Returns:
      the state, the positions of all processes' streams, and the step; None
      where there is no checkpoint.

    Raises:
      UserError: it is of another model or vocabulary, or `step` is not there.
    """
    self.wait()
    step = self._find_whole(step)
    return None if step is None else self._read(abstract_state, step)

  def parameters(self, step: int | None = None) -> tuple[Any, int] | None:
    """Reads the parameters alone, of the latest whole checkpoint or of `step`.

    Needs no model and no optimizer, and reads nothing of the latter.

    Returns:
      nested dict of numpy arrays, and the step; None where there is nothing.

    Raises:
      UserError: `step` is not there or damaged.
    """
    step = self._find_whole(step)
    if step is None:
      return None
    tree = self._manager.item_metadata(step)['state'].tree
    path = self._directory / str(step) / 'state'
    return checkpoint_items.read_parameters(path, tree), step

  def remove_after(self, step: int):
    """Removes checkpoints of later steps, which a resumed run makes again."""
    for later in self.steps():
      if later > step:
        self._manager.delete(later)

  def wait(self):
    """Waits until the last save is complete; raises UserError if it failed."""
    with self._explain_failure():
      self._manager.wait_until_finished()

  def close(self):
    """Completes the last save and frees threads; the object is then spent."""
    with self._explain_failure():
      self._manager.close()

  def _find_whole(self, step: int | None) -> int | None:
    """Returns the latest step that is whole, moving others aside; or `step`."""
    steps = self.steps()
    if step is not None:
      damage = self._damage(step) if step in steps else 'not there'
      if damage:
        raise UserError(
          f'checkpoint {self._directory / str(step)} cannot be read'
          f' ({damage}); choose another of the steps {steps}'
        )
      return step
    for candidate in reversed(steps):
      damage = self._damage(candidate)
      if not damage:
        return candidate
      self._move_aside(candidate, damage)
    return None

  def _read(self, abstract_state, step):
    checkpoint_items.check_same_model(
      self._manager.item_metadata(step)['state'],
      abstract_state,
      self._directory / str(step),
    )
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract_state),
        position=ocp.args.JsonRestore(),
      ),
    )
    position = checkpoint_items.from_json(restored['position']) or None
    return restored['state'], position, step

  def _damage(self, step: int) -> str | None:
    """Says what is wrong with a checkpoint; process 0 decides for all."""
    damage = None
    if jax.process_index() == 0:
      for item in ('state', 'position'):
        path = self._directory / str(step) / item
        damage = damage or checksums.find_damage(path)
    is_damaged = np.asarray(damage is not None)
    if multihost_utils.broadcast_one_to_all(is_damaged):
      return damage or 'see process 0'
    return None

  def _move_aside(self, step: int, damage: str):
    source = self._directory / str(step)
    if jax.process_index() == 0:
      print(
        f'warning: checkpoint {source} is damaged ({damage});'
        ' using the one before it',
        flush=True,
      )
      if not self._read_only:
        source.rename(f'{source}.corrupt-{time.time():.0f}')
    multihost_utils.sync_global_devices(f'moved aside {step}')
    self._manager.reload()

  def _check_space(self, state):
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
  def _explain_failure(self):
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


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
  text = record.getMessage() if record.name == 'asyncio' else record.pathname
  return 'orbax' not in text
