"""SIGTERM and Ctrl-C noted, so that the loop can stop between two steps.

    >>> with Stop() as stop:
    ...   stop.listen()
    ...   stop.agreed()
    ...   stop.received = signal.SIGTERM  # as its handler does
    ...   stop.agreed() == signal.SIGTERM
    0
    True

All processes of a run stop at the same step.
"""

import signal
import sys
from types import FrameType
from typing import Any, Self

from bertjax.parallel import processes


class Stop:
  """Context in which the two signals are noted instead of ending the process.

  They are so from `listen` on: before the first step there is nothing to save,
  and it may be minutes away.

  Attributes:
    received: number of the signal; 0: none yet.
  """

  received: int = 0

  def __enter__(self) -> Self:
    self._vote = processes.Vote()
    self._before: dict[signal.Signals, Any] = {}
    return self

  def listen(self) -> None:
    """Notes the signals from now on; returns when all processes do."""
    for number in (signal.SIGTERM, signal.SIGINT):
      try:
        self._before[number] = signal.signal(number, self._note)
      except ValueError:  # not the main thread: its owner handles signals
        break
    processes.wait('signals are noted')

  def __exit__(self, *_: object) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _note(self, number: int, frame: FrameType | None) -> None:
    del frame
    if self.received and number == signal.SIGINT:
      raise KeyboardInterrupt  # pressed twice: no time to save
    self.received = number
    name = signal.Signals(number).name
    print(f'\n{name}: saving after this step', file=sys.stderr)

  def agreed(self) -> int:
    """Returns the signal that some process has received, or 0.

    The same on all processes; each must call it once a step. With several
    processes the answer is a step late.
    """
    return self._vote.cast(self.received)
