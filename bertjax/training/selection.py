"""Which evaluation of a run is the best, and when to wait no longer for one.

    best = Best('eval/accuracy', patience=3)
    best.resume(run_dir)                 # what metrics.jsonl has already
    improved = best.add(step, {'eval/accuracy': 0.81})
    best.step, best.value, best.exhausted

Source: ours.
"""

import math
from collections.abc import Mapping

from bertjax.errors import UserError
from bertjax.parallel import processes
from bertjax.runs import metrics_file


class Best:
  """The best value of a metric so far.

  Attributes:
    metric: its name in metrics.jsonl; of a name that ends in `loss` the lowest
      value is the best, of others the highest.
    step: of the best value; None before there is one.
    value: the best one.
  """

  def __init__(self, metric: str | None, patience: int | None = None):
    """`patience`: how many evaluations in a row may not improve it."""
    if patience is not None and (metric is None or patience < 1):
      raise UserError(
        'early stopping takes a metric to select by, and a '
        f'patience of 1 or more, got {patience}'
      )
    self.metric = metric
    self.step, self.value = None, -math.inf
    self._patience, self._waited = patience, 0

  def resume(self, run_dir: str) -> None:
    """Goes through what a run has written, as if it had been added."""
    # Read by one process: files reach other machines late.
    curves = processes.from_first(lambda: metrics_file.read_metrics(run_dir))
    for step, value in zip(*curves.get(self.metric, ((), ())), strict=True):
      self.add(step, {self.metric: value})

  def add(self, step: int, values: Mapping[str, float]) -> bool:
    """Adds an evaluation, and returns whether it is the best one so far."""
    if self.metric is None or not values:
      return False
    if self.metric not in values:
      raise UserError(
        f'no evaluation gives {self.metric}, which is to be '
        f'selected by; they give {", ".join(values)}'
      )
    value = values[self.metric]
    height = -value if self.metric.endswith('loss') else value
    if math.isnan(height):
      height = -math.inf  # nothing compares as better than nan
    if self.step is None or height > self._height:
      self.step, self.value, self._height = step, value, height
      self._waited = 0
      return True
    self._waited += 1
    return False

  @property
  def exhausted(self) -> bool:
    """Whether as many evaluations as `patience` were no better."""
    return self._patience is not None and self._waited >= self._patience
