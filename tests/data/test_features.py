import jax
import numpy as np
import pytest
import tensorflow as tf

from bertjax import batch
from bertjax.data import features
from bertjax.errors import UserError
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.training.objectives import MaskedLanguageModel

E, L, P = 40, 48, 8


@pytest.fixture(scope='module')
def examples():
  """Sequences of 8 to 16 tokens, each in a row of 48; some without a label."""
  made = batch.synthetic(E, 16, 3, 100, seed=0)
  width = {'L': L, 'P': P, 'S': 1}
  made = {
    key: np.pad(
      array, ((0, 0), (0, width[batch.KEYS[key][0][1]] - array.shape[1]))
    )
    for key, array in made.items()
  }
  made['pair_weights'][::5] = 0
  return made


def pack(examples, sequences, window):
  dataset = tf.data.Dataset.from_tensor_slices(examples)
  dataset = features.pack(dataset, sequences, window).batch(E)
  (packed,) = dataset.as_numpy_iterator()
  return packed


def find(packed, examples):
  """Returns row and first column of each example in the packed batch."""
  found = []
  for tokens, segments in zip(
    examples['tokens'], examples['segments'], strict=True
  ):
    own = tokens[segments > 0].tolist()
    (place,) = [
      (row, first)
      for row, numbers in enumerate(packed['segments'])
      for first in packed['first_positions'][row, : numbers.max()]
      if packed['tokens'][row, first : first + len(own)].tolist() == own
    ]
    found.append(place)
  return found


def test_a_packed_row_gives_what_its_sequences_give_apart(examples):
  packed = pack(examples, sequences=4, window=E)
  batch.check(packed)
  assert len(packed['tokens']) <= 14 and packed['segments'].max() == 4
  config = EncoderConfig(
    vocabulary_size=100,
    width=32,
    layers=2,
    heads=2,
    feed_forward=64,
    positions=L,
    dropout=0.0,
  )
  model = BertForPreTraining(config)
  parameters = model.init(jax.random.key(0), examples, train=False)['params']

  def hidden(example):
    return model.apply({'params': parameters}, example, train=False)['hidden']

  apart, together = hidden(examples), hidden(packed)
  for number, (row, first) in enumerate(find(packed, examples)):
    size = examples['segments'][number].sum()
    np.testing.assert_allclose(
      together[row, first : first + size], apart[number, :size], atol=1e-5
    )

  objective = MaskedLanguageModel(model)
  apart = objective(parameters, examples, None, train=False)
  together = objective(parameters, packed, None, train=False)
  assert apart['nsp_loss'][1] == E - 8 and set(apart) == set(together)
  for name, (total, weight) in apart.items():
    assert together[name][1] == weight
    np.testing.assert_allclose(together[name][0], total, rtol=1e-5)


@pytest.mark.parametrize('sequences, predictions', [(2, P), (4, P), (4, 4)])
def test_no_target_is_lost_where_targets_or_sequences_are_used_up(
  examples, sequences, predictions
):
  examples = {
    key: array[:, :predictions] if batch.KEYS[key][0] == 'BP' else array
    for key, array in examples.items()
  }
  packed = pack(examples, sequences, window=E)
  assert packed['weights'].sum() == examples['weights'].sum()
  most = packed['weights'].sum(1).max(), packed['segments'].max()
  assert most[0] <= predictions and most[1] <= sequences
  assert most[0] == predictions or most[1] == sequences


def test_a_window_makes_rows_of_its_own_in_the_order_of_the_longest(examples):
  packed = pack(examples, sequences=4, window=10)
  rows = [row for row, _ in find(packed, examples)]
  for end in range(10, E, 10):
    assert max(rows[:end]) < min(rows[end:])
  sizes = examples['segments'].sum(1)
  begins = [
    n for n, (_, first) in enumerate(find(packed, examples)) if first == 0
  ]
  assert [rows[n] for n in begins] == sorted(rows[n] for n in begins)
  for n in begins:
    assert sizes[n] == max(sizes[i] for i in range(E) if rows[i] == rows[n])


def test_examples_that_lack_something_are_refused(examples):
  examples = {key: examples[key] for key in features.TASK if key != 'weights'}
  dataset = tf.data.Dataset.from_tensor_slices(examples)
  with pytest.raises(
    UserError, match='with weights, got .*; set pipeline.batch'
  ):
    features.to_rows(dataset)
