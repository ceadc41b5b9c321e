"""Seconds a step, tokens a second, and the share of time lost to data.

    clock = throughput.Clock()
    with clock.waiting():
      batch = next(batches)
    clock.count(batch)
    with clock.paused():
      evaluate()
    clock.speed()    # {'speed/step_seconds': ...}, and starts anew
"""

import contextlib
import time

import numpy as np


class Clock:
  """Times a window of steps; compilation, evaluation and saving do not count.
  """

  def __init__(self):
    self.start()

  def start(self) -> None:
    """Begins a new window."""
    self._since = time.monotonic()
    self._steps = self._tokens = 0
    self._waited = 0.0

  @contextlib.contextmanager
  def waiting(self):
    """Time inside is spent waiting for data: the host's, also where the device
    is still busy with the step before, so an upper bound of what it costs."""
    before = time.monotonic()
    yield
    self._waited += time.monotonic() - before

  @contextlib.contextmanager
  def paused(self):
    """Time inside does not belong to training."""
    before = time.monotonic()
    yield
    self._since += time.monotonic() - before

  def count(self, batch) -> None:
    """Counts one step and the tokens (not padding) of its host batch."""
    self._steps += 1
    self._tokens += int(np.count_nonzero(batch['segments']))

  def speed(self) -> dict[str, float]:
    """Returns the window's speed, in seconds and tokens, and begins the next.
    """
    seconds = time.monotonic() - self._since
    speed = {}
    if self._steps and seconds > 0:
      speed = {
          'speed/step_seconds': seconds / self._steps,
          'speed/tokens_per_second': self._tokens / seconds,
          'speed/data_wait_fraction': min(1.0, self._waited / seconds),
      }
    self.start()
    return speed
