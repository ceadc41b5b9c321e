"""Seconds a step, tokens a second, MFU, and the shares of time lost.

    clock = throughput.Clock(
        lambda batch: flops.of_step(config, batch, True), peak(mesh))
    with clock.waiting():
      batch = next(batches)
    clock.count(batch)
    with clock.paused('evaluation'):
      evaluate()
    clock.speed()    # {'speed/step_seconds': ...}, and starts anew

Model-FLOPs utilisation (MFU) is the useful FLOPs of a step over what the
devices could do in its time. Source: Chowdhery et al. 2022 (PaLM), appendix B.
"""

import collections
import contextlib
import time
from collections.abc import Callable

import numpy as np
from jax.sharding import Mesh

from bertjax.parallel import devices


def peak(mesh: Mesh) -> float | None:
  """Returns FLOP/s of all devices of a mesh; None where nobody says, as of a
  CPU."""
  device = devices.find(mesh.devices.flat[0].device_kind)
  return None if device is None else mesh.size * device.flops_per_second


class Clock:
  """Times a window of steps, without compilation, evaluation and saving."""

  def __init__(
    self,
    flops: Callable = lambda batch: 0,
    peak: float | None = None,
    share: float = 1.0,
  ):
    """Makes a clock.

    Args:
      flops: gives the useful ones of a step on a batch, by its shapes.
      peak: FLOP/s of all devices; None: no MFU.
      share: of a global batch that the host batches are, see
        `partitioning.process_share`.
    """
    self._flops_of, self._peak, self._share = flops, peak, share
    self.start()

  def start(self) -> None:
    """Begins a new window."""
    self._since = time.monotonic()
    self._steps = self._tokens = self._sequences = self._flops = 0
    self._waited = 0.0
    self._paused = collections.Counter()

  @contextlib.contextmanager
  def waiting(self):
    """Time inside is spent waiting for data: the host's, also where the device
    is still busy with the step before, so an upper bound of what it costs."""
    before = time.monotonic()
    yield
    self._waited += time.monotonic() - before

  @contextlib.contextmanager
  def paused(self, what: str):
    """Time inside does not belong to training; it is reported as a share."""
    before = time.monotonic()
    yield
    seconds = time.monotonic() - before
    self._since += seconds
    self._paused[what] += seconds

  def count(self, batch) -> None:
    """Counts one step, and the tokens (not padding), sequences (one or more a
    row) and FLOPs of its host batch; the rest of the global batch is taken to
    have as many."""
    self._steps += 1
    self._tokens += np.count_nonzero(batch['segments']) / self._share
    self._sequences += np.max(batch['segments'], axis=-1).sum() / self._share
    self._flops += self._flops_of(batch) / self._share

  def speed(self) -> dict[str, float]:
    """Returns the window's speed, and begins the next.

    Returns:
      seconds a step, tokens and sequences a second, and MFU, of the time spent
      training; the share of that spent waiting for data; and the shares of all
      time spent in each kind of pause.
    """
    seconds = time.monotonic() - self._since
    speed = {}
    if self._steps and seconds > 0:
      speed = {
        'speed/step_seconds': seconds / self._steps,
        'speed/tokens_per_second': self._tokens / seconds,
        'speed/sequences_per_second': self._sequences / seconds,
        'speed/data_wait_fraction': min(1.0, self._waited / seconds),
      }
      if self._peak:
        speed['speed/mfu'] = self._flops / seconds / self._peak
      everything = seconds + self._paused.total()
      for what, paused in self._paused.items():
        speed[f'speed/{what}_fraction'] = paused / everything
    self.start()
    return speed
