"""Shows the progress of long work on data, on standard error.

with ReadingProgress('preparing the corpus', total_bytes) as progress:
  progress.update(done_bytes)    # as often as you like
# preparing the corpus: 41%, 133 MB/s, 0:00:12 left
"""

import datetime
import sys
import time

from bertjax.runs.progress_line import ProgressLine

_QUIET_SECONDS = 2.0  # shorter work shows nothing
_TERMINAL_SECONDS = 0.5
_PLAIN_SECONDS = 30.0  # off a terminal every message is a line of its own


class ReadingProgress(ProgressLine):
  """Shows at times how much is read, how fast, and the time left."""

  def __init__(self, what: str, total_bytes: int):
    super().__init__(sys.stderr)
    self._what = what
    self._total = total_bytes
    self._start = time.monotonic()
    self._next = self._start + _QUIET_SECONDS

  def update(self, done_bytes: int) -> None:
    """Shows the progress if the last message is old enough."""
    now = time.monotonic()
    if now < self._next:
      return
    pause = _TERMINAL_SECONDS if self._is_terminal else _PLAIN_SECONDS
    self._next = now + pause
    speed = done_bytes / (now - self._start)
    left = (self._total - done_bytes) / max(speed, 1)
    self.show(
      f'{self._what}: {done_bytes / max(self._total, 1):.0%}, '
      f'{speed / 1e6:.0f} MB/s, {datetime.timedelta(seconds=int(left))} left'
    )
