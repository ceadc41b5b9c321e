import numpy as np
import pytest

from bertjax.inference import batching
from bertjax.inference.batching import Row


def first_and_length(batch):
  return batch['tokens'][:, 0], batch['segments'].sum(axis=1)


@pytest.mark.parametrize('count', [1, 2, 7, 300])
def test_results_come_in_the_order_of_the_rows(count, monkeypatch):
  monkeypatch.setattr(batching, 'WINDOW', 5)
  lengths = np.random.default_rng(0).integers(1, 20, count)
  rows = (Row([i + 1] * n) for i, n in enumerate(lengths))
  results = list(batching.run(first_and_length, rows, length=20, batch_size=8))
  firsts, found = (np.stack(x) for x in zip(*results, strict=True))
  np.testing.assert_array_equal(firsts, np.arange(count) + 1)
  np.testing.assert_array_equal(found, lengths)


def test_shapes_are_few_and_short_rows_cost_little():
  shapes = set()

  def look(batch):
    shapes.add(batch['tokens'].shape)
    return batch['tokens'][:, 0]

  rows = [Row([1] * n) for n in [3] * 40 + list(range(1, 65))]
  list(batching.run(look, rows, length=64, batch_size=32))
  assert len(shapes) <= len(batching.LENGTHS) and (32, 8) in shapes


def test_no_row_is_padded_beyond_the_length():
  batch = batching.make([Row([1] * 9)], length=9, batch_size=4)
  assert batch['tokens'].shape == (1, 9)


def test_nothing_gives_nothing():
  assert list(batching.run(first_and_length, [], 8, 4)) == []


def test_batches_are_multiples_of_what_the_devices_divide():
  for count in (1, 3, 5, 9, 12):
    batch = batching.make([Row([1, 2])] * count, 8, batch_size=12, multiple=4)
    assert len(batch['tokens']) in (4, 8, 12) and count <= len(batch['tokens'])


def test_types_and_segments_follow_the_rows():
  batch = batching.make([Row([1, 2, 3, 4], second=2), Row([5])], 8, 2)
  np.testing.assert_array_equal(batch['types'][:, :4],
                                [[0, 0, 1, 1], [0, 0, 0, 0]])
  np.testing.assert_array_equal(batch['segments'].sum(axis=1), [4, 1])
