"""A profile of some steps, which TensorBoard and XProf open.

    profile = profiling.Profile('runs/x/profile', (100, 104))
    profile.before(step)
    state, terms = train_step(...)
    profile.after(step, terms)

Source: `jax.profiler`.
"""

from collections.abc import Sequence

import jax

from bertjax.errors import UserError


class Profile:
  """Records from one step to another, both included."""

  def __init__(self, directory: str, steps: Sequence[int] | None, last: int):
    """Checks what is asked for.

    Args:
      directory: where the profile is written.
      steps: the first and the last one, from 1; None: nothing is recorded.
      last: step of the run.

    Raises:
      UserError: not two steps in order, or not of the run.
    """
    if steps is not None:
      numbers = (
        isinstance(steps, tuple | list)
        and len(steps) == 2
        and all(isinstance(step, int) for step in steps)
      )
      if not numbers or not 1 <= steps[0] <= steps[1]:
        raise UserError(
          'expected the first and the last step to profile, such '
          f'as (100, 104), got {steps!r}; set PROFILE_STEPS'
        )
      if steps[0] > last:
        raise UserError(
          f'the run ends at step {last}, before the first of '
          f'PROFILE_STEPS {steps}; set an earlier one'
        )
    self._directory = directory
    self._steps = steps
    self._recording = False

  def before(self, step: int) -> None:
    """Begins where `step` is the first."""
    if self._steps and step == self._steps[0]:
      jax.profiler.start_trace(self._directory)
      self._recording = True

  def after(self, step: int, results) -> str | None:
    """Ends where `step` is the last, or the run's.

    Args:
      step: that was made.
      results: arrays of it, which are waited for.

    Returns:
      what to tell the user, if anything.
    """
    if not self._recording or step < self._steps[1]:
      return None
    jax.block_until_ready(results)
    self.close()
    return (
      f'profile of steps {self._steps[0]} to {step} in '
      f'{self._directory}: pip install tensorboard xprof; '
      f'tensorboard --logdir={self._directory}'
    )

  def close(self) -> None:
    """Ends a profile that is being recorded."""
    if self._recording:
      jax.profiler.stop_trace()
      self._recording = False
