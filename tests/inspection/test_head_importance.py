"""The importance of heads, without the golden (see test_attention_maps)."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from bertjax import batch as batch_lib
from bertjax.errors import UserError
from bertjax.inspection import head_importance
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.text.batching import Row
from bertjax.training import objectives

TINY = EncoderConfig(
  vocabulary_size=40,
  width=16,
  layers=1,
  heads=2,
  feed_forward=32,
  positions=12,
  initializer_stddev=0.3,
)
OBJECTIVE = objectives.MaskedLanguageModel(BertForPreTraining(TINY))

pytestmark = pytest.mark.usefixtures('compiled_quickly')


@pytest.fixture(scope='module')
def parameters():
  example = batch_lib.synthetic(2, 12, 2, 40, seed=0)
  shapes = jax.eval_shape(
    lambda: nn.unbox(
      OBJECTIVE.model.init(jax.random.key(0), example, train=False)
    )
  )['params']
  random = np.random.RandomState(0)
  return jax.tree.map(
    lambda x: 0.3 * random.randn(*x.shape).astype(np.float32), shapes
  )


def unpack(packed):
  """Returns the two sequences of each row in rows of their own, an empty
  row between."""
  rows = []
  for line in range(len(packed['tokens'])):
    for number in (1, 2):
      inside = packed['segments'][line] == number
      begin = packed['first_positions'][line, number - 1]
      targets = packed['target_positions'][line]
      row = {
        key: np.roll(np.where(inside, packed[key][line], 0), -begin)
        for key in ('tokens', 'types', 'positions')
      }
      row['segments'] = np.roll(inside, -begin).astype(np.int32)
      row['target_positions'] = np.where(inside[targets], targets - begin, 0)
      row['targets'] = packed['targets'][line]
      row['weights'] = packed['weights'][line] * inside[targets]
      row['first_positions'] = np.zeros(1, np.int32)
      row['pair_labels'] = packed['pair_labels'][line, number - 1 : number]
      row['pair_weights'] = np.ones(1, np.float32)
      rows += [row, {key: np.zeros_like(array) for key, array in row.items()}]
  return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def test_packed_sequences_count_as_they_do_apart_and_empty_rows_not(parameters):
  packed = batch_lib.synthetic(3, 12, 4, 40, seed=0, sequences=2)
  together = head_importance.expected(OBJECTIVE, parameters, [packed])
  apart = head_importance.expected(OBJECTIVE, parameters, [unpack(packed)])
  assert together.shape == (1, 2) and together.min() > 1e-3
  np.testing.assert_allclose(apart, together, rtol=1e-4)


def test_batches_are_averaged_and_layers_normalized(parameters):
  batches = [
    unpack(batch_lib.synthetic(3, 12, 4, 40, seed, sequences=2))
    for seed in (1, 2)
  ]
  both = head_importance.expected(OBJECTIVE, parameters, batches)
  alone = [
    head_importance.expected(OBJECTIVE, parameters, [x]) for x in batches
  ]
  np.testing.assert_allclose(both, np.mean(alone, axis=0), rtol=1e-5)
  normalized = head_importance.expected(
    OBJECTIVE, parameters, batches, normalize=True
  )
  np.testing.assert_allclose((normalized**2).sum(-1), 1, rtol=1e-5)
  with pytest.raises(UserError, match='got none'):
    head_importance.expected(OBJECTIVE, parameters, [])


def test_each_token_but_special_ones_is_masked_in_turn():
  ids = {'cls': 2, 'sep': 3, 'mask': 4}
  row = Row([2, *range(10, 29), 4, 3])
  first, second = head_importance.masked_batches(row, ids)
  assert first['tokens'].shape == second['tokens'].shape == (16, 22)
  assert first['tokens'][:2, :4].tolist() == [[2, 4, 11, 12], [2, 10, 4, 12]]
  assert first['target_positions'][:, 0].tolist() == list(range(1, 17))
  assert second['targets'][:, 0].tolist() == [26, 27, 28] + 13 * [0]
  assert second['weights'].sum() == 3
  assert second['segments'].sum() == 3 * 22
