"""A profile of some steps, for TensorBoard or XProf.

    profile = profiling.Profile('runs/x/profile', (100, 104), last=1000)
    profile.before(step)
    state, terms = train_step(...)
    profile.after(step, terms)

Source: `jax.profiler`.
"""

from collections.abc import Sequence
from typing import Any

import jax

from bertjax.errors import expect


class Profile:
  """Records from one step to another, both included."""

  def __init__(self, directory: str, steps: Sequence[int] | None, last: int):
    """Checks the arguments.

    Args:
      directory: the profile is written there.
      steps: the first and the last step, from 1; None: nothing is recorded.
      last: the run's last step.

    Raises:
      UserError: `steps` are not two steps in order, or not in the run.
    """
    self._directory = directory
    self._first, self._last = 0, 0  # never
    match steps:
      case [int(first), int(end)] if 1 <= first <= min(end, last):
        self._first, self._last = first, end
      case _:
        what = 'the first and the last step to profile, such as (100, 104),'
        what += f' of a run that ends at step {last}'
        expect(steps is None, what, steps, 'PROFILE_STEPS')
    self._recording = False

  def before(self, step: int) -> None:
    """Starts recording if `step` is the first."""
    if step == self._first:
      jax.profiler.start_trace(self._directory)
      self._recording = True

  def after(self, step: int, results: Any) -> str | None:
    """Stops recording if `step` is the last.

    Args:
      step: the step that was made.
      results: its arrays, which are waited for.

    Returns:
      a message for the user, or None.
    """
    if not self._recording or step < self._last:
      return None
    jax.block_until_ready(results)
    self.close()
    return (
      f'profile of steps {self._first} to {step} in {self._directory}: pip '
      f'install tensorboard xprof; tensorboard --logdir={self._directory}'
    )

  def close(self) -> None:
    """Stops recording, if a profile is being recorded."""
    if self._recording:
      jax.profiler.stop_trace()
      self._recording = False
