"""Random numbers as hashes of where they are used, in numpy.

    >>> seeds = mix(7, np.arange(4))  # one seed a row
    >>> uniform(seeds[:, None], 0, np.arange(128)).shape
    (4, 128)

A mask or a pair must depend on (seed, example) alone, not on the batch, thread
or process that made it. So every number is a hash of its coordinates, and there
is no generator with a state. The mixing function is the finalizer of SplitMix64
(Steele, Lea, Flood 2014, figure 17).
"""

import numpy as np
from numpy.typing import ArrayLike

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mix(*coordinates: ArrayLike) -> np.ndarray:
  """Returns uint64 hashes of integer coordinates, which are broadcast."""
  state = np.zeros((), np.uint64)
  with np.errstate(over='ignore'):
    for coordinate in coordinates:
      number = np.asarray(coordinate).astype(np.uint64)
      state = state * np.uint64(31) + number + _GOLDEN_GAMMA
      state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
      state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
      state = state ^ (state >> np.uint64(31))
  return state


def uniform(*coordinates: ArrayLike) -> np.ndarray:
  """Returns float64 in [0, 1), 53 random bits each."""
  return (mix(*coordinates) >> np.uint64(11)) * 2.0**-53


def integers(high: int | np.ndarray, *coordinates: ArrayLike) -> np.ndarray:
  """Returns int64 in [0, high); `high` may be an array."""
  return (uniform(*coordinates) * high).astype(np.int64)


def permuted(
  places: np.ndarray, size: int, *coordinates: ArrayLike
) -> np.ndarray:
  """Returns what a random order of the numbers below `size` has at places.

      >>> permuted(np.arange(5), 5, 7).tolist()
      [2, 1, 0, 3, 4]

  It is computed, so it takes no memory. A Feistel network of four rounds
  permutes the numbers below the next power of four; those that it maps outside
  are mapped again, until they are inside (cycle walking: Black and Rogaway
  2002, section 3).

  Args:
    places: int64[n], each below `size`.
    size: how many numbers are permuted.
    *coordinates: integers; others give another permutation.
  """
  half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
  mask = np.uint64((1 << int(half)) - 1)
  found = np.asarray(places).astype(np.uint64)
  outside = np.ones(found.shape, bool)
  while outside.any():
    numbers = found[outside]
    left, right = numbers >> half, numbers & mask
    for turn in range(4):
      left, right = right, left ^ (mix(*coordinates, turn, right) & mask)
    found[outside] = (left << half) | right
    outside = found >= np.uint64(size)
  return found.astype(np.int64)
