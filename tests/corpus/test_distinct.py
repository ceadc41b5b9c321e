import collections

import numpy as np
import pytest

from bertjax.corpus.distinct import Distinct, hash_of
from bertjax.text import hashing


def added(numbers, most):
  seen = Distinct(most)
  for some in np.array_split(numbers, 7):
    different, counts = np.unique(some, return_counts=True)
    seen.add(hashing.mix(different), counts)
  return seen


@pytest.mark.parametrize('most', [10_000, 500])
def test_numbers_are_those_of_a_counter_or_near_them(most):
  rng = np.random.default_rng(0)
  numbers = (rng.pareto(1.0, 20_000) * 1000).astype(int)
  counts = collections.Counter(numbers.tolist())
  seen = added(numbers, most)
  assert seen.is_exact == (len(counts) <= most)
  # Five standard deviations of a sample of 500.
  near = 0 if seen.is_exact else 5 / np.sqrt(500)
  different, once = len(counts), sum(x == 1 for x in counts.values())
  assert seen.different() == pytest.approx(different, rel=near + 1e-9)
  assert seen.once() == pytest.approx(once / different, abs=near / 2 + 1e-9)
  if seen.is_exact:
    assert seen.repeated() == pytest.approx(1 - different / len(numbers))
    assert seen.most_often() == max(counts.values())
  else:
    assert len(seen._hashes) == len(seen._counts) == most + 1


def test_a_share_of_copies_is_estimated_from_the_kept():
  numbers = np.repeat(np.arange(20_000), 4)
  seen = added(np.random.default_rng(1).permutation(numbers), 1000)
  assert seen.repeated() == pytest.approx(0.75)
  assert seen.most_often() == 4


def test_nothing_seen_is_no_division_by_zero():
  seen = Distinct(5)
  assert (seen.different(), seen.once(), seen.repeated()) == (0, 0, 0)
  assert seen.is_exact and seen.most_often() == 0


def test_equal_runs_alone_have_equal_hashes():
  runs = [[1, 2], [2, 1], [1], [1, 2], [1, 2, 0], [0], [0, 1, 2]]
  starts = np.cumsum([0, *map(len, runs)])[:-1]
  hashes = hash_of(np.concatenate(runs), starts).tolist()
  assert hashes[0] == hashes[3]
  assert len(set(hashes)) == len(runs) - 1
