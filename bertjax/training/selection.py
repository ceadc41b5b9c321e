"""The best evaluation of a run, and early stopping.

    >>> best = Best('eval/accuracy', patience=2)
    >>> best.add(100, {'eval/accuracy': 0.8})
    True
    >>> best.add(200, {'eval/accuracy': 0.7})
    False
    >>> best.step, best.values, best.exhausted
    (100, {'eval/accuracy': 0.8}, False)

A run that continues calls `resume` first.
"""

import math
from collections.abc import Mapping

from bertjax.errors import UserError, expect
from bertjax.runs import metrics_file


class Best:
  """The best value of a metric so far.

  Attributes:
    metric: its name in metrics.jsonl; if that ends in `loss` the lowest value
      is the best, else the highest. None: nothing is selected.
    step: of the best value; None before there is one.
    values: all of the best evaluation, by the names in metrics.jsonl.
  """

  def __init__(self, metric: str | None, patience: int | None = None):
    """`patience`: the evaluations in a row without improvement that exhaust
    it; None: never."""
    valid = patience is None or (metric is not None and patience >= 1)
    what = 'a metric to select by and a patience of 1 or more'
    setting = 'loop.train.select and loop.train.patience'
    expect(valid, what, (metric, patience), setting)
    self.metric = metric
    self.step: int | None = None
    self._height = -math.inf
    self.values: Mapping[str, float] | None = None
    self._patience, self._waited = patience, 0

  def resume(self, run_dir: str) -> None:
    """Adds the evaluations that metrics.jsonl has already."""
    for step, values in metrics_file.read_evaluations(run_dir):
      if self.metric in values:
        self.add(step, values)

  def add(self, step: int, values: Mapping[str, float]) -> bool:
    """Adds an evaluation, and returns whether it is the best one so far."""
    if self.metric is None or not values:
      return False
    if self.metric not in values:
      raise UserError(
        f'no evaluation gives {self.metric}, the metric to select by; they '
        f'give {", ".join(values)}; set loop.train.select'
      )
    value = values[self.metric]
    height = -value if self.metric.endswith('loss') else value
    if math.isnan(height):
      height = -math.inf  # nothing compares as better than NaN
    if self.step is None or height > self._height:
      self.step, self.values, self._height = step, values, height
      self._waited = 0
      return True
    self._waited += 1
    return False

  @property
  def exhausted(self) -> bool:
    """Whether the last `patience` evaluations brought no improvement."""
    return self._patience is not None and self._waited >= self._patience
