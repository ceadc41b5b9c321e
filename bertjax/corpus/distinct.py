"""How many different things there were, and how often each, in flat memory.

>>> seen = Distinct(most=1000)
>>> seen.add(hashing.mix(np.array([3, 5])), np.array([3, 1]))
>>> seen.different(), seen.once(), seen.repeated(), seen.is_exact
(2.0, 0.5, 0.5, True)

Kept are the things with the smallest hashes, a random sample of all that is
different; of each of them every occurrence is counted. Source: the k minimum
values of Bar-Yossef et al. 2002; the estimate is that of Beyer et al. 2007.
"""

import numpy as np

from bertjax.text import hashing


class Distinct:
  """Counts things by their hashes.

  Attributes:
    most: how many are kept; up to so many, all numbers are exact. Beyond, the
      number of different things is off by 1 / sqrt(most) at one standard
      deviation.
  """

  def __init__(self, most: int):
    self.most = most
    self._hashes = np.zeros(0, np.uint64)
    self._counts = np.zeros(0, np.int64)

  @property
  def is_exact(self) -> bool:
    return len(self._hashes) <= self.most

  def add(self, hashes: np.ndarray, counts: np.ndarray) -> None:
    """Adds things that occur so often: uint64[n] and int64[n]."""
    if not self.is_exact:  # the others would go at once
      near = hashes <= self._hashes[-1]
      hashes, counts = hashes[near], counts[near]
    hashes = np.concatenate([self._hashes, hashes])
    counts = np.concatenate([self._counts, counts])
    # One more than `most` says that there are more.
    self._hashes, places = np.unique(hashes, return_inverse=True)
    self._counts = np.bincount(places, counts).astype(np.int64)
    self._hashes = self._hashes[: self.most + 1]
    self._counts = self._counts[: self.most + 1]

  def different(self) -> float:
    """Returns how many different things there were."""
    if self.is_exact:
      return float(len(self._hashes))
    return self.most / float(self._hashes[-1]) * 2.0**64

  def once(self) -> float:
    """Returns the share of these that occurred once."""
    return float(np.mean(self._counts == 1)) if len(self._counts) else 0.0

  def repeated(self) -> float:
    """Returns the share of all occurrences that is not the first of a thing."""
    total = int(self._counts.sum())
    return 1 - len(self._counts) / total if total else 0.0

  def most_often(self) -> int:
    """Returns how often the most frequent of the kept things occurred."""
    return int(self._counts.max(initial=0))


def hash_of(runs: np.ndarray, starts: np.ndarray) -> np.ndarray:
  """Returns a hash of each run of numbers.

  Args:
    runs: int[n], the runs one after the other.
    starts: int[m], ascending from 0, where each begins; none is empty.

  Returns:
    uint64[m], equal for equal runs.
  """
  if not len(starts):
    return np.zeros(0, np.uint64)
  lengths = np.diff(starts, append=len(runs))
  places = np.arange(len(runs)) - np.repeat(starts, lengths)
  return np.add.reduceat(hashing.mix(runs, places), starts)
