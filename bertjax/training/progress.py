"""How far a run of training is: one live line.

with progress.TrainingProgress(total_steps=1000) as line:
  line.update(100, {'train/loss': 7.25})
"""

import shutil
import sys
import time
from collections.abc import Mapping


class TrainingProgress:
  """One live line on a terminal; elsewhere a line each time.

      step 500/1500   loss 5.1234   12.3 steps/s   50,381 tokens/s   1:21 left

  Args:
    total_steps: of the whole run.
    step: where this process begins.
    stream: where to; None is standard output.
  """

  def __init__(self, total_steps: int, step: int = 0, stream=None):
    self._total_steps = total_steps
    self._stream = stream or sys.stdout
    self._is_terminal = self._stream.isatty()
    self._line = ''
    self._began = (step, time.monotonic())

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._is_terminal and self._line:
      self._print('\n')

  def update(self, step: int, values: Mapping[str, float]):
    """Shows a step; `values` are named as in metrics.jsonl, all optional."""
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
    parts.append(f'{_clock((self._total_steps - step) * seconds)} left')
    self._line = '   '.join(parts)
    self._show()

  def note(self, text: str):
    """Prints a line of its own, above the live one."""
    if self._is_terminal:
      self._print('\r\x1b[K')  # to the line's start, and erase it
    self._print(text + '\n')
    if self._is_terminal:
      self._show()

  def _show(self):
    if not self._is_terminal:
      self._print(self._line + '\n')
    elif self._line:
      width = shutil.get_terminal_size().columns - 1  # a full line would wrap
      self._print('\r\x1b[K' + self._line[:width])

  def _print(self, text: str):
    self._stream.write(text)
    self._stream.flush()


def _clock(seconds: float) -> str:
  """Returns 3725.0 as '1:02:05'."""
  minutes, second = divmod(round(seconds), 60)
  hours, minute = divmod(minutes, 60)
  rest = f'{minute:02}:{second:02}' if hours else f'{minute}:{second:02}'
  return f'{hours}:{rest}' if hours else rest
