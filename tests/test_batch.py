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
    (
      'weights',
      None,
      r'Mine reads weights: .* float32\[B=4, P=5\], got none among first',
    ),
    ('tokens', np.zeros((4, 32), np.int64), r'got int64\[4, 32\]; set'),
    (
      'types',
      np.zeros((4, 31), np.int32),
      r'int32.B=4, L=32., got int32\[4, 31\]',
    ),
    (
      'targets',
      np.zeros(4, np.int32),
      r'expected int32\[B=4, P=5\], got int32\[4\]',
    ),
  ],
)
def test_a_batch_that_breaks_the_contract_is_named(key, value, message):
  example = batch.synthetic(4, 32, 5, 100, seed=0)
  if value is None:
    del example[key]
  else:
    example[key] = value
  with pytest.raises(UserError, match=message):
    batch.check(example, reader='Mine')
  batch.check(example, [name for name in batch.PRETRAINING if name != key])


def test_a_key_that_the_table_lacks_is_described_or_refused():
  example = {'segments': np.zeros((4, 9), np.int32), 'ends': np.zeros((4, 2))}
  keys = {'ends': ('B2', np.float64)}
  batch.check(example, example, more=keys)
  with pytest.raises(UserError, match="got 'ends'.*; set Mine.keys"):
    batch.check(example, example, 'Mine')
  with pytest.raises(
    UserError, match=r'float64\[B=4, 3\], got float64\[4, 2\]'
  ):
    batch.check(example, example, 'Mine', {'ends': ('B3', np.float64)})


def test_predictions_are_those_of_bert():
  # google-research/bert, README: 20 at 128; 76.8 of 512 rounded up.
  assert batch.predictions_of(128, 0.15) == 20
  assert batch.predictions_of(512, 0.15) == 77
  assert batch.predictions_of(100, 0.15) == 15
  assert batch.predictions_of(100, 0, more=6) == 7  # noise alone
  with pytest.raises(UserError, match='predictions_of.mask_rate'):
    batch.predictions_of(128, 15)


def test_sequences_of_a_row_are_one_unless_it_is_packed():
  assert batch.sequences_of(512, pack=False, most=9) == 1
  assert batch.sequences_of(512, pack=True) == 32
  assert batch.sequences_of(8, pack=True) == 2
  assert batch.sequences_of(512, pack=True, most=9) == 9
  with pytest.raises(UserError, match='sequences_of.most'):
    batch.sequences_of(512, pack=True, most=0)
