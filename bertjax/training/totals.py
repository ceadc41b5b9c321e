"""Sums and weights, added up over steps and divided once.

totals = metrics.Totals()
totals.add({'mlm_loss': (sum, weight)})
totals.means()                        # {'mlm_loss': float32}
"""

import json
from collections.abc import Mapping

import numpy as np


class Totals:
  """Running (sum, weight) of named terms, in float64 on the host."""

  def __init__(self):
    self._totals: dict[str, list[float]] = {}

  def add(self, terms: Mapping) -> None:
    """Adds name -> (sum, weight), numbers or arrays of no dimension."""
    for name, (value, weight) in terms.items():
      total = self._totals.setdefault(name, [0.0, 0.0])
      total[0] += float(value)
      total[1] += float(weight)

  def means(self) -> dict[str, float]:
    """Returns name -> float32 mean; names of weight 0 are left out."""
    return {
      name: float(np.float32(value / weight))
      for name, (value, weight) in self._totals.items()
      if weight
    }

  def clear(self) -> None:
    self._totals.clear()

  def to_bytes(self) -> bytes:
    """Returns the sums, exactly, for a checkpoint in the middle of a window."""
    return json.dumps(self._totals).encode()

  def restore(self, saved: bytes) -> None:
    self._totals = json.loads(saved)
