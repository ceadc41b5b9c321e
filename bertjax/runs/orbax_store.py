"""The checkpoints of one directory, by step; the only file that knows Orbax.

    store = orbax_store.Store(epath.Path('/runs/x/checkpoints'), keep=3)
    store.save(300, state, {'train': 'AAE='})  # goes on in the background
    store.wait()
    state, position = store.restore(300, abstract_state)

With `orbax.checkpoint.v1`, `training.Checkpointer` takes the place of
CheckpointManager, `save_checkpointables_async` and `load_checkpointables` that
of `args.Composite`, and the `save` of a CheckpointableHandler, which is awaited
to its end, that of `finalize`. Source: Orbax.
"""

import logging
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

from bertjax.runs import checksums

_STATE, _POSITION = 'state', 'position'


class _StateHandler(ocp.StandardCheckpointHandler):
  def finalize(self, directory: epath.Path) -> None:
    # On one process, in the background, after all processes have written and
    # before the checkpoint gets its name.
    super().finalize(directory)
    checksums.write(directory)


class _JsonHandler(ocp.JsonCheckpointHandler):
  def finalize(self, directory: epath.Path) -> None:
    super().finalize(directory)
    checksums.write(directory)


class Store:
  """Writes and reads checkpoints; neither checks them nor explains failures.

  Args:
    directory: an absolute path; made if missing.
    keep: how many of the latest checkpoints to keep. Step 0 always stays.
    keep_every: also keep each whose step is a multiple of this.
    read_only: changes nothing in the directory.
  """

  def __init__(
    self,
    directory: epath.Path,
    keep: int = 3,
    keep_every: int | None = None,
    read_only: bool = False,
  ):
    # Orbax logs a traceback of what it also raises; once is enough.
    for name in ('absl', 'asyncio'):
      logging.getLogger(name).addFilter(_is_not_from_orbax)
    self._directory = directory
    policies: list[preservation_policy.PreservationPolicy] = [
      preservation_policy.LatestN(keep),
      preservation_policy.CustomSteps([0]),
    ]
    if keep_every:
      policies.append(preservation_policy.EveryNSteps(keep_every))
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    state, position = _StateHandler(), _JsonHandler()
    registry.add(_STATE, ocp.args.StandardSave, state)
    registry.add(_STATE, ocp.args.StandardRestore, state)
    registry.add(_POSITION, ocp.args.JsonSave, position)
    registry.add(_POSITION, ocp.args.JsonRestore, position)
    self._manager = ocp.CheckpointManager(
      directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.AnyPreservationPolicy(policies),
        cleanup_tmp_directories=not read_only,
        create=not read_only,
        read_only=read_only,
        # In the background, a failure to make the directory is noticed only
        # by a timeout of minutes.
        async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
      ),
      handler_registry=registry,
    )

  def steps(self) -> list[int]:
    """Returns the steps of complete checkpoints, ascending, as on disk."""
    return sorted(self._manager.all_steps(read=True))

  def has(self, step: int) -> bool:
    """Whether the step is there, without looking at the disk again."""
    return step in self._manager.all_steps()

  def folder(self, step: int) -> epath.Path:
    """Returns the folder of a checkpoint."""
    return self._directory / str(step)

  def items(self, step: int) -> tuple[epath.Path, ...]:
    """Returns the folders of its items, each with its own checksums."""
    return tuple(self.folder(step) / name for name in (_STATE, _POSITION))

  def save(self, step: int, state: Any, position: dict[str, str]) -> None:
    """Starts to save; the arrays may be donated as soon as this returns.

    Orbax has copied them from an accelerator by then; on CPU it holds a view,
    and jax donates no array that is viewed.
    """
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        position=ocp.args.JsonSave(position),
      ),
      force=True,
    )

  def shapes(self, step: int) -> Any:
    """Returns the saved state's tree, of leaves with `shape` and `dtype`."""
    return self._manager.item_metadata(step)[_STATE].tree

  def restore(
    self, step: int, abstract_state: Any
  ) -> tuple[Any, dict[str, str]]:
    """Reads each array of the state onto the devices of its sharding."""
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract_state),
        position=ocp.args.JsonRestore(),
      ),
    )
    return restored[_STATE], restored[_POSITION]

  def parameters(self, step: int) -> Any:
    """Reads `parameters` of the state as numpy arrays, and nothing else."""
    wanted = {
      name: part
      if name == 'parameters'
      else jax.tree.map(lambda _: ocp.PLACEHOLDER, part)
      for name, part in self.shapes(step).items()
    }
    as_numpy = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
      restored = reader.restore(
        self.folder(step) / _STATE,
        args=ocp.args.PyTreeRestore(item=wanted, restore_args=as_numpy),
      )
    return restored['parameters']

  def delete(self, step: int) -> None:
    """Removes a checkpoint."""
    self._manager.delete(step)

  def reload(self) -> None:
    """Looks at the directory again, after another hand has changed it."""
    self._manager.reload()

  def wait(self) -> None:
    """Waits until the last save is complete; raises what it failed with."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Completes the last save and frees threads; the object is then spent."""
    self._manager.close()


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
  text = record.getMessage() if record.name == 'asyncio' else record.pathname
  return 'orbax' not in text
