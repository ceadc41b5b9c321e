import numpy as np
import pytest

from bertjax import batch
from bertjax.errors import UserError


def test_synthetic_batches_keep_the_contract():
  example = batch.synthetic(4, 32, 5, 100, seed=0)
  batch.check(example)
  shapes = batch.shapes(4, 32, 5)
  assert {k: (v.shape, v.dtype) for k, v in example.items()} == {
    k: (v.shape, v.dtype) for k, v in shapes.items()
  }


def test_synthetic_rows_can_hold_several_sequences():
  example = batch.synthetic(4, 32, 5, 100, seed=0, sequences=3)
  batch.check(example)
  assert (
    example['pair_labels'].shape
    == batch.shapes(4, 32, 5, 3)['pair_labels'].shape
    == (4, 3)
  )
  for row in range(4):
    for number, first in enumerate(example['first_positions'][row]):
      places = np.flatnonzero(example['segments'][row] == number + 1)
      assert places[0] == first and len(places) >= 5
      np.testing.assert_array_equal(
        example['positions'][row, places], np.arange(len(places))
      )
      assert example['types'][row, places].sum() in (
        len(places) // 2,
        (len(places) + 1) // 2,
      )


@pytest.mark.parametrize(
  'key, value, message',
  [
    ('weights', None, 'lacks weights'),
    ('tokens', np.zeros((4, 32), np.int64), 'tokens is int64'),
    ('types', np.zeros((4, 31), np.int32), 'L=31'),
    ('targets', np.zeros(4, np.int32), 'expected BP'),
  ],
)
def test_a_batch_that_breaks_the_contract_is_named(key, value, message):
  example = batch.synthetic(4, 32, 5, 100, seed=0)
  if value is None:
    del example[key]
  else:
    example[key] = value
  with pytest.raises(ValueError, match=message):
    batch.check(example)


def test_predictions_are_those_of_bert():
  # google-research/bert, README: 20 at 128; 76.8 of 512 rounded up.
  assert batch.predictions_of(128, 0.15) == 20
  assert batch.predictions_of(512, 0.15) == 77
  assert batch.predictions_of(100, 0.15) == 15
  with pytest.raises(UserError, match='MASK_RATE'):
    batch.predictions_of(128, 15)


def test_sequences_of_a_row_are_one_unless_it_is_packed():
  assert batch.sequences_of(512, pack=False, most=9) == 1
  assert batch.sequences_of(512, pack=True) == 32
  assert batch.sequences_of(8, pack=True) == 2
  assert batch.sequences_of(512, pack=True, most=9) == 9
  with pytest.raises(UserError, match='sequences_of.most'):
    batch.sequences_of(512, pack=True, most=0)
