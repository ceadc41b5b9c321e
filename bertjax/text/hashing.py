"""Random numbers as a function of where they are used, in numpy.

    seeds = hashing.mix(np.uint64(7), np.arange(4))      # one seed a row
    hashing.uniform(seeds[:, None], PURPOSE, np.arange(128))  # [4, 128]

A mask or a pair must depend on (seed, example) alone, not on the batch, the
thread or the process that it was made in. So every number is a hash of its
coordinates; there is no generator whose state could move. The mixing function
is the finalizer of SplitMix64 (Steele, Lea, Flood 2014, figure 17).
"""

import numpy as np

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mix(*coordinates) -> np.ndarray:
  """Returns uint64 hashes of broadcast integer coordinates."""
  state = np.zeros((), np.uint64)
  with np.errstate(over='ignore'):
    for coordinate in coordinates:
      coordinate = np.asarray(coordinate)
      state = state * np.uint64(31) + coordinate.astype(np.uint64)
      state = state + _GOLDEN_GAMMA
      state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
      state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
      state = state ^ (state >> np.uint64(31))
  return state


def uniform(*coordinates) -> np.ndarray:
  """Returns float64 in [0, 1), 53 random bits each."""
  return (mix(*coordinates) >> np.uint64(11)) * 2.0**-53


def integers(high, *coordinates) -> np.ndarray:
  """Returns int64 in [0, high); `high` may be an array."""
  return (uniform(*coordinates) * high).astype(np.int64)
