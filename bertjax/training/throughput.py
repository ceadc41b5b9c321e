"""Seconds per step, tokens per second, MFU, and the shares of time lost.

    clock = throughput.Clock(
        lambda batch: flops.of_step(config, batch, True), peak(mesh))
    with clock.timed('data_wait'):
      batch = next(batches)
    clock.count(batch)
    with clock.timed('evaluation'):
      evaluate()
    clock.speed()    # {'speed/step_seconds': ...}, and starts a new window

Model-FLOPs utilisation (MFU) is the useful FLOPs of a step divided by those
that the devices could do in its time. Source: Chowdhery et al. 2022 (PaLM),
appendix B.
"""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np
from jax.sharding import Mesh

from bertjax.batch import Batch
from bertjax.parallel import devices


def peak(mesh: Mesh) -> float | None:
  """Returns the peak FLOP/s of all devices of a mesh; None if not known, as for
  a CPU."""
  device = devices.find(mesh.devices.flat[0].device_kind)
  return None if device is None else mesh.size * device.flops_per_second


class Clock:
  """Times a window of steps, without compilation, evaluation and saving."""

  def __init__(
    self,
    flops: Callable[[Batch], float] = lambda batch: 0,
    peak: float | None = None,
    share: float = 1.0,
  ):
    """Starts the first window.

    Args:
      flops: gives the useful FLOPs of a step on a batch.
      peak: FLOP/s of all devices; None: no MFU.
      share: the part of a global batch that a host batch is, see
        `partitioning.process_share`.
    """
    self._flops_of, self._peak, self._share = flops, peak, share
    self.start()

  def start(self) -> None:
    """Starts a new window."""
    self._since = time.monotonic()
    self._steps = 0
    self._tokens = self._sequences = self._flops = 0.0
    self._seconds: dict[str, float] = collections.defaultdict(float)

  @contextlib.contextmanager
  def timed(self, what: str) -> Iterator[None]:
    """Counts the time inside as a share.

    That of 'data_wait' is the host's, even if the device is still busy with the
    step before, so an upper bound on the cost; it belongs to training. All else
    does not.
    """
    before = time.monotonic()
    yield
    self._seconds[what] += time.monotonic() - before

  def count(self, batch: Batch) -> None:
    """Counts a step with the tokens (not padding), sequences (one or more per
    row) and FLOPs of its host batch.

    The rest of the global batch is assumed to have as many for its size.
    """
    self._steps += 1
    self._tokens += np.count_nonzero(batch['segments']) / self._share
    self._sequences += np.max(batch['segments'], axis=-1).sum() / self._share
    self._flops += self._flops_of(batch) / self._share

  def speed(self) -> dict[str, float]:
    """Returns the window's speed, and starts the next window.

    Returns:
      of the time spent training: seconds per step, tokens and sequences per
      second, MFU, and the share spent waiting for data; of all time: the share
      of each kind of pause.
    """
    everything = time.monotonic() - self._since
    waited = self._seconds.pop('data_wait', 0.0)
    seconds = everything - sum(self._seconds.values())
    speed: dict[str, float] = {}
    if self._steps and seconds > 0:
      speed = {
        'speed/step_seconds': seconds / self._steps,
        'speed/tokens_per_second': self._tokens / seconds,
        'speed/sequences_per_second': self._sequences / seconds,
        'speed/data_wait_fraction': min(1.0, waited / seconds),
      }
      if self._peak:
        speed['speed/mfu'] = self._flops / seconds / self._peak
      for what, paused in self._seconds.items():
        speed[f'speed/{what}_fraction'] = paused / everything
    self.start()
    return speed
