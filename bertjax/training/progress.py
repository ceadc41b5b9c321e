"""The progress of a training run, as one live line.

    >>> values = {'train/loss': 7.25, 'speed/step_seconds': 0.08}
    >>> with TrainingProgress(total_steps=1000) as line:
    ...   line.update(100, values)
    step 100/1000   loss 7.2500   12.5 steps/s   0:01:12 left

Elsewhere than on a terminal each update is a line of its own.
"""

import datetime
import time
from collections.abc import Mapping
from typing import TextIO

from bertjax.runs.progress_line import ProgressLine


class TrainingProgress(ProgressLine):
  """How far a run has come.

      step 500/1500   loss 5.1234   12.3 steps/s   9,381 tokens/s   0:01:21 left

  Args:
    total_steps: steps of the whole run.
    step: where this process begins.
    stream: see `ProgressLine`.
  """

  def __init__(
    self, total_steps: int, step: int = 0, stream: TextIO | None = None
  ):
    super().__init__(stream)
    self._total_steps = total_steps
    self._began = (step, time.monotonic())

  def update(self, step: int, values: Mapping[str, float]) -> None:
    """Shows a step; `values` have the names of metrics.jsonl, all optional."""
    first_step, began = self._began
    seconds = values.get(
      'speed/step_seconds',
      (time.monotonic() - began) / max(1, step - first_step),
    )
    parts = [f'step {step}/{self._total_steps}']
    if 'train/loss' in values:
      parts.append(f'loss {values["train/loss"]:.4f}')
    if seconds > 0:
      parts.append(f'{1 / seconds:.3g} steps/s')
    if 'speed/tokens_per_second' in values:
      parts.append(f'{values["speed/tokens_per_second"]:,.0f} tokens/s')
    if 'speed/mfu' in values:
      parts.append(f'{values["speed/mfu"]:.1%} of the peak')
    left = round((self._total_steps - step) * seconds)
    parts.append(f'{datetime.timedelta(seconds=left)} left')
    self.show('   '.join(parts))
