"""SIGTERM and Ctrl-C noted, so that the loop can stop between two steps.

with signals.Stop() as stop:
  while not stop.agreed():
    ...
"""

import signal
import sys

from bertjax.parallel import processes


class Stop:
  """Context in which the two signals are noted instead of ending the process.

  Attributes:
    received: number of the signal, 0 for none yet.
  """

  received = 0

  def __enter__(self):
    self._vote = processes.Vote()
    self._before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
      try:
        self._before[number] = signal.signal(number, self._note)
      except ValueError:  # not the main thread: its owner handles signals
        break
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _note(self, number, frame):
    del frame
    if self.received and number == signal.SIGINT:
      raise KeyboardInterrupt  # pressed twice: no time to save
    self.received = number
    name = signal.Signals(number).name
    print(f'\n{name}: saving after this step', file=sys.stderr)

  def agreed(self) -> int:
    """Returns the signal that some process has received, or 0.

    The same on all processes, to be called once a step by each; where there are
    several, a step late.
    """
    return self._vote.cast(self.received)
