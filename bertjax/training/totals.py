"""Sums and weights, added up over steps and divided once.

    >>> totals = Totals()
    >>> totals.add({'loss': (12.0, 4.0)})
    >>> totals.add({'loss': (2.0, 1.0)})
    >>> round(totals.means()['loss'], 3)
    2.8

A mean over steps of different weights is therefore exact.
"""

import json
from collections.abc import Mapping
from typing import SupportsFloat

import numpy as np


class Totals:
  """Running (sum, weight) of named terms, in float64 on the host."""

  def __init__(self):
    self._totals: dict[str, list[float]] = {}

  def add(
    self, terms: Mapping[str, tuple[SupportsFloat, SupportsFloat]]
  ) -> None:
    """Adds name -> (sum, weight), each a number or an array of shape []."""
    for name, (value, weight) in terms.items():
      total = self._totals.setdefault(name, [0.0, 0.0])
      total[0] += float(value)
      total[1] += float(weight)

  def means(self) -> dict[str, float]:
    """Returns name -> mean, rounded to float32, without names of weight 0."""
    return {
      name: float(np.float32(value / weight))
      for name, (value, weight) in self._totals.items()
      if weight
    }

  def clear(self) -> None:
    """Starts again from nothing."""
    self._totals.clear()

  def to_bytes(self) -> bytes:
    """Returns the sums, exactly, for a checkpoint in the middle of a window."""
    return json.dumps(self._totals).encode()

  def restore(self, saved: bytes) -> None:
    """Continues from the sums in a result of `to_bytes`."""
    self._totals = json.loads(saved)
