import numpy as np
import pytest

from bertjax import batch as batch_lib
from bertjax.text import batching
from bertjax.text.batching import Row


def sequences(batch):
  """Of each sequence: its first token, how many it has, what it predicts."""
  numbers = np.arange(batch['first_positions'].shape[1]) + 1
  return (
    np.take_along_axis(batch['tokens'], batch['first_positions'], 1),
    (batch['segments'][:, None] == numbers[:, None]).sum(axis=-1),
    np.take_along_axis(batch['tokens'], batch['target_positions'], 1),
  )


def random_rows(count, most=20):
  lengths = np.random.default_rng(0).integers(1, most + 1, count)
  return lengths, [
    Row([*range(1000 * i, 1000 * i + n)], position=n - 1)
    for i, n in enumerate(lengths)
  ]


@pytest.mark.parametrize('count', [1, 2, 7, 300])
def test_results_come_in_the_order_of_the_rows(count, monkeypatch):
  monkeypatch.setattr(batching, 'WINDOW', 5)
  lengths, rows = random_rows(count)
  found = list(batching.apply(sequences, iter(rows), 20, batch_size=8))
  assert [row for row, _ in found] == rows
  results = [result for _, result in found]
  firsts, sizes, lasts = (np.stack(x) for x in zip(*results, strict=True))
  np.testing.assert_array_equal(firsts, np.arange(count) * 1000)
  np.testing.assert_array_equal(sizes, lengths)
  np.testing.assert_array_equal(lasts, firsts + lengths - 1)


def test_results_of_positions_are_those_of_the_row():
  lengths, rows = random_rows(100)
  found = batching.apply(
    lambda batch: (batch['tokens'], batch['positions']),
    rows,
    20,
    8,
    of_positions=True,
  )
  for row, (tokens, positions) in found:
    np.testing.assert_array_equal(tokens, row.ids)
    np.testing.assert_array_equal(positions, np.arange(len(row.ids)))


def test_shapes_are_few_and_hold_little_padding():
  shapes, used = set(), 0

  def look(batch):
    nonlocal used
    shapes.add((*batch['tokens'].shape, batch['first_positions'].shape[1]))
    used += batch['tokens'].size
    return batch['first_positions']

  lengths, rows = random_rows(4000, 40)
  list(batching.apply(look, rows, length=512, batch_size=32))
  assert len(shapes) <= 12 and used <= 1.05 * lengths.sum()


def test_a_short_row_alone_costs_little():
  shapes = []

  def look(batch):
    shapes.append(batch['tokens'].shape)
    return batch['first_positions']

  list(batching.apply(look, [Row([1] * 5)], length=512, batch_size=32))
  assert shapes == [(1, 8)]


def test_no_row_is_padded_beyond_the_length():
  found = batching.apply(
    lambda batch: np.full(
      batch['first_positions'].shape, batch['tokens'].shape[1]
    ),
    [Row([1] * 9), Row([1] * 3)],
    9,
    4,
  )
  assert [result for _, result in found] == [9, 9]


def test_nothing_gives_nothing():
  assert list(batching.apply(sequences, [], 8, 4)) == []
  empty = [Row([], source='a'), Row([], source='b')]
  assert list(batching.apply(sequences, empty, 8, 4)) == [
    (row, None) for row in empty
  ]


def test_a_row_without_tokens_costs_nothing_and_keeps_its_place():
  shapes = []

  def look(batch):
    shapes.append(batch['tokens'].shape)
    return batch['tokens'].sum(axis=1, keepdims=True)

  rows = [Row([7]), Row([]), Row([8])]
  found = [result for _, result in batching.apply(look, rows, 1, 4)]
  assert found == [7, None, 8] and shapes == [(2, 1)]


def test_batches_are_multiples_of_what_the_devices_divide():
  for count in (1, 3, 5, 9, 12):
    shapes = []
    list(
      batching.apply(
        lambda batch: (
          shapes.append(len(batch['tokens']))  # noqa: B023
          or batch['first_positions']
        ),
        [Row([1] * 8)] * count,
        8,
        batch_size=12,
        multiple=4,
      )
    )
    assert shapes[0] in (4, 8, 12) and count <= sum(shapes)


def test_types_segments_and_positions_follow_the_rows():
  batch = batching.make(
    [[Row([1, 2, 3, 4], second=2), Row([5, 6], position=1)], [Row([7])]],
    count=2,
    columns=8,
  )
  expected = {
    'tokens': [[1, 2, 3, 4, 5, 6, 0, 0], [7, 0, 0, 0, 0, 0, 0, 0]],
    'types': [[0, 0, 1, 1, 0, 0, 0, 0], [0] * 8],
    'positions': [[0, 1, 2, 3, 0, 1, 0, 0], [0] * 8],
    'segments': [[1, 1, 1, 1, 2, 2, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]],
    'first_positions': [[0, 4], [0, 0]],
    'target_positions': [[0, 5], [0, 0]],
  }
  assert batch.keys() == expected.keys()
  for key, value in expected.items():
    np.testing.assert_array_equal(batch[key], value, key)


def join(examples, groups, sequences):
  sizes = {
    'L': (examples['segments'] > 0).sum(1),
    'P': (examples['weights'] > 0).sum(1),
    'S': [1] * len(examples['tokens']),
  }
  made = ('positions', 'segments', 'first_positions')
  whole = [
    {
      key: array[i, : sizes[batch_lib.KEYS[key][0][1]][i]]
      for key, array in examples.items()
      if key not in made
    }
    for i in range(len(examples['tokens']))
  ]
  length, predictions = (
    examples[key].shape[1] for key in ('tokens', 'targets')
  )
  return batching.join(
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
    for key, (_, dtype) in batch_lib.KEYS.items()
    if key in examples
  }


def test_a_packed_row_holds_its_sequences_one_after_the_other():
  packed = join(make_examples(), [[2], [1, 0]], sequences=3)
  batch_lib.check(packed)
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
  assert batching.join([group], 1, sizes)['targets'].tolist() == [[7, 9]]
  with pytest.raises(ValueError):
    batching.join([group], 1, sizes | {letter: sizes[letter] - 1})
