import numpy as np
import pytest

from bertjax.text import packing


def test_packing_loses_nothing_and_fills_no_row_too_far():
  rng = np.random.default_rng(0)
  sizes = rng.integers(1, 17, 200)
  groups = packing.pack(sizes, lambda size: 16 if size > 8 else 8)
  assert sorted(i for group in groups for i in group) == list(range(200))
  for group in groups:
    assert sizes[group].sum() <= (16 if sizes[group[0]] > 8 else 8)
  groups = packing.pack(sizes, lambda _: 16)
  assert len(groups) <= 11 / 9 * sizes.sum() / 16 + 1
  assert packing.pack([3, 6, 4, 2], lambda _: 8) == [[1, 3], [2, 0]]


def test_no_row_exceeds_any_budget():
  rng = np.random.default_rng(0)
  sizes, targets = rng.integers(1, 12, 200), rng.integers(0, 4, 200)
  groups = packing.pack(sizes, lambda _: 16, [(targets, 4), ([1] * 200, 3)])
  assert sorted(i for group in groups for i in group) == list(range(200))
  taken = np.array(
    [(sizes[group].sum(), targets[group].sum(), len(group)) for group in groups]
  )
  # Each is used up somewhere, so each was the one that kept another out.
  np.testing.assert_array_equal(taken.max(0), [16, 4, 3])


@pytest.mark.parametrize(
  'budget, expected',
  [
    (([2, 1, 2, 1], 3), [[1, 0], [2, 3]]),
    (([2, 1, 2, 2], 2), [[1], [2], [0], [3]]),
    (([9, 1, 1, 1], 3), [[1, 3], [2], [0]]),  # beyond it, but alone
  ],
)
def test_a_sequence_joins_a_row_only_where_the_budget_lasts(budget, expected):
  assert packing.pack([2, 6, 4, 2], lambda _: 8, [budget]) == expected
