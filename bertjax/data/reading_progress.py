"""Shows the progress of long work on data, on standard error.

show = reading_progress.ReadingProgress('preparing the corpus', total_bytes)
show.update(done_bytes)    # as often as you like
show.close()
# preparing the corpus: 41%, 133 MB/s, 0:12 left
"""

import datetime
import sys
import time

_QUIET_SECONDS = 2.0  # shorter work shows nothing
_TERMINAL_SECONDS = 0.5
_PLAIN_SECONDS = 30.0  # off a terminal every message is a line of its own


class ReadingProgress:
  """Rewrites one line on a terminal, and prints a line at times elsewhere."""

  def __init__(self, what: str, total_bytes: int):
    self._what = what
    self._total = total_bytes
    self._start = time.monotonic()
    self._next = self._start + _QUIET_SECONDS
    self._terminal = sys.stderr.isatty()
    self._shown = False

  def update(self, done_bytes: int) -> None:
    """Shows the progress if the last message is old enough."""
    now = time.monotonic()
    if now < self._next:
      return
    self._next = now + (_TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS)
    speed = done_bytes / (now - self._start)
    left = (self._total - done_bytes) / max(speed, 1)
    line = (
      f'{self._what}: {done_bytes / max(self._total, 1):.0%}, '
      f'{speed / 1e6:.0f} MB/s, {datetime.timedelta(seconds=int(left))} left'
    )
    self._shown = True
    if self._terminal:
      print(f'\r{line:<79}', end='', file=sys.stderr, flush=True)
    else:
      print(line, file=sys.stderr, flush=True)

  def close(self) -> None:
    """Ends the line, so that the next print starts a new one."""
    if self._shown and self._terminal:
      print(file=sys.stderr)
