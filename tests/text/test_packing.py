import numpy as np
import pytest

from bertjax import batch
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


def join(examples, groups, sequences):
  sizes = {
    'L': (examples['segments'] > 0).sum(1),
    'P': (examples['weights'] > 0).sum(1),
    'S': [1] * len(examples['tokens']),
  }
  made = ('positions', 'segments', 'first_positions')
  whole = [
    {
      key: array[i, : sizes[batch.KEYS[key][0][1]][i]]
      for key, array in examples.items()
      if key not in made
    }
    for i in range(len(examples['tokens']))
  ]
  length, predictions = (
    examples[key].shape[1] for key in ('tokens', 'targets')
  )
  return packing.join(
    [[whole[i] for i in group] for group in groups],
    len(groups),
    {'L': length, 'P': predictions, 'S': sequences},
  )


def make_examples():
  """Three sequences of 3, 2 and 5 tokens, the last one without a label."""
  tokens = [[2, 7, 3, 0, 0, 0], [2, 3, 0, 0, 0, 0], [2, 8, 3, 9, 3, 0]]
  types = [[0] * 6, [0] * 6, [0, 0, 0, 1, 1, 0]]
  examples = {
    'tokens': tokens,
    'types': types,
    'positions': [[0, 1, 2, 3, 4, 5]] * 3,
    'segments': np.array(tokens) > 0,
    'target_positions': [[1, 0, 0], [0, 0, 0], [1, 3, 0]],
    'targets': [[17, 0, 0], [0, 0, 0], [18, 19, 0]],
    'weights': [[1, 0, 0], [0, 0, 0], [1, 1, 0]],
    'first_positions': [[0]] * 3,
    'pair_labels': [[1], [1], [0]],
    'pair_weights': [[1], [1], [0]],
  }
  return {
    key: np.asarray(examples[key], dtype)
    for key, (_, dtype) in batch.KEYS.items()
  }


def test_a_packed_row_holds_its_sequences_one_after_the_other():
  packed = join(make_examples(), [[2], [1, 0]], sequences=3)
  batch.check(packed)
  expected = {
    'tokens': [[2, 8, 3, 9, 3, 0], [2, 3, 2, 7, 3, 0]],
    'types': [[0, 0, 0, 1, 1, 0], [0] * 6],
    'positions': [[0, 1, 2, 3, 4, 0], [0, 1, 0, 1, 2, 0]],
    'segments': [[1, 1, 1, 1, 1, 0], [1, 1, 2, 2, 2, 0]],
    'target_positions': [[1, 3, 0], [3, 0, 0]],
    'targets': [[18, 19, 0], [17, 0, 0]],
    'weights': [[1, 1, 0], [1, 0, 0]],
    'first_positions': [[0, 0, 0], [0, 2, 0]],
    'pair_labels': [[0, 0, 0], [1, 1, 0]],
    'pair_weights': [[0, 0, 0], [1, 1, 0]],
  }
  assert packed.keys() == expected.keys()
  for key, value in expected.items():
    np.testing.assert_array_equal(packed[key], value, key)


def test_rows_of_one_sequence_stay_as_they_are_but_for_their_padding():
  examples = make_examples()
  packed = join(examples, [[0], [1], [2]], sequences=1)
  for key, array in examples.items():
    if key == 'positions':
      array = array * examples['segments']
    np.testing.assert_array_equal(packed[key], array, key)


@pytest.mark.parametrize('letter', 'LPS')
def test_a_group_that_does_not_fit_is_refused(letter):
  group = [
    {'tokens': [2, 7, 3], 'target_positions': [1], 'targets': [7]},
    {'tokens': [2, 3], 'target_positions': [0], 'targets': [9]},
  ]
  sizes = {'L': 5, 'P': 2, 'S': 2}
  assert packing.join([group], 1, sizes)['targets'].tolist() == [[7, 9]]
  with pytest.raises(ValueError):
    packing.join([group], 1, sizes | {letter: sizes[letter] - 1})
