"""A large model from a smaller one, beside ModernBERT's own examples."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import traverse_util
from flax.core import meta

from bertjax import batch
from bertjax.errors import UserError
from bertjax.models import tiling
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig

BERT = EncoderConfig(
  vocabulary_size=32,
  width=8,
  layers=2,
  heads=2,
  feed_forward=12,
  positions=16,
  # Else a sum of few features depends on how it is rounded.
  initializer_stddev=0.5,
)
MODERN = dataclasses.replace(
  BERT,
  layers=4,
  types=0,
  position_scheme='rotary',
  rotary_base=100.0,
  norm_bias=False,
  attention_bias=False,
  block_order='pre',
  first_norm=False,
  feed_forward_block='gated',
  query_key_norm=True,
  layer_pattern='local_global',
  local_window=4,
  shared_head=True,
)


def make(config):
  """Parameters that are nowhere 0 or 1, and what they say of a batch."""
  model = BertForPreTraining(
    config, next_sentence=config.types > 1, noise_target='detection'
  )
  rows = batch.synthetic(2, 16, 4, 32, seed=0)
  made = meta.unbox(model.init(jax.random.key(0), rows, train=False)['params'])
  rng = np.random.default_rng(0)
  made = jax.tree.map(
    lambda x: np.asarray(x) + rng.normal(0, 0.1, x.shape).astype(np.float32),
    made,
  )
  return made, lambda config, tree: dataclasses.replace(
    model, config=config
  ).apply({'params': tree}, rows, train=False)


def flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


# Of tests/test_tiling.py in AnswerDotAI/ModernBERT.
@pytest.mark.parametrize(
  'small, shape, large',
  [
    ([1, 2, 3], (8,), [2, 3, 1, 2, 3, 1, 2, 3]),
    ([[1, 2, 3]], (4, 8), 4 * [[2, 3, 1, 2, 3, 1, 2, 3]]),
    (
      [[1, 2], [3, 4], [5, 6], [7, 8]],
      (7, 5),
      [
        [8, 7, 8, 7, 8],
        [2, 1, 2, 1, 2],
        [4, 3, 4, 3, 4],
        [6, 5, 6, 5, 6],
        [8, 7, 8, 7, 8],
        [2, 1, 2, 1, 2],
        [4, 3, 4, 3, 4],
      ],
    ),
  ],
)
def test_arrays_are_tiled_from_their_middle_as_modernbert_does(
  small, shape, large
):
  assert tiling._tile(np.array(small), shape).tolist() == large


@pytest.mark.parametrize('old, new', [(3, 3), (3, 8), (4, 7), (2, 9)])
def test_shares_of_a_features_copies_are_one_in_all(old, new):
  copies = tiling._tile(np.arange(old), (new,))
  total = np.zeros(old)
  np.add.at(total, copies, tiling._shares(old, new))
  np.testing.assert_allclose(total, 1)
  for feature in range(old):
    shares = tiling._shares(old, new)[copies == feature]
    assert len({*shares}) == len(shares)


@pytest.mark.parametrize('config', [BERT, MODERN], ids=['bert', 'modern'])
def test_the_same_size_is_the_same_model(config):
  parameters, _ = make(config)
  tiled = tiling.tile(parameters, config, config)
  assert flat(tiled).keys() == flat(parameters).keys()
  jax.tree.map(np.testing.assert_array_equal, tiled, parameters)


@pytest.mark.parametrize('times', [2, 3])
@pytest.mark.parametrize('config', [BERT, MODERN], ids=['bert', 'modern'])
def test_a_multiple_of_the_width_computes_the_same(config, times):
  parameters, run = make(config)
  wide = dataclasses.replace(
    config, width=8 * times, heads=2 * times, feed_forward=12 * times + 5
  )
  here = run(wide, tiling.tile(parameters, config, wide))
  there = run(config, parameters)
  for name in there.keys() - {'hidden', 'pooled'}:
    np.testing.assert_allclose(here[name], there[name], rtol=1e-3, atol=1e-4)


def test_any_larger_size_has_the_models_shapes_and_no_head_for_a_task():
  large = dataclasses.replace(
    MODERN, width=20, heads=5, layers=7, feed_forward=30
  )
  parameters, _ = make(MODERN)
  head = {'kernel': np.ones((8, 3)), 'bias': np.ones(3)}
  tiled = flat(tiling.tile(parameters | {'tag_head': head}, MODERN, large))
  assert not [name for name in tiled if name.startswith('tag_head')]
  expected = tiling.shapes(large)
  for name, shape in expected.items():
    if not name.startswith(('pooler', 'nsp_head')):
      assert tiled[name].shape == shape, name


@pytest.mark.parametrize(
  'config, layers, sources',
  [
    (BERT, 4, [0, 0, 1, 1]),
    # 0 has no norm, 3 alone is global with one.
    (MODERN, 8, [0, 1, 1, 3, 2, 2, 3, 2]),
    (dataclasses.replace(MODERN, layers=2), 4, [0, 1, 1, 1]),
  ],
)
def test_a_layer_comes_from_the_nearest_of_its_kind(config, layers, sources):
  large = dataclasses.replace(config, layers=layers)
  assert tiling._layers(config, large) == sources


@pytest.mark.parametrize(
  'fields, words',
  [
    ({'layers': 1}, 'layers of 2 or more.*got 1.*set EncoderConfig.layers'),
    ({'width': 4, 'heads': 1}, 'width of 8 or more'),
    ({'width': 16}, 'heads of width 4.*got 8; set EncoderConfig.heads to'),
  ],
)
def test_what_cannot_be_tiled_is_refused(fields, words):
  with pytest.raises(UserError, match=words):
    tiling.tile({}, BERT, dataclasses.replace(BERT, **fields))


def test_a_single_layer_without_a_norm_gives_no_second_one():
  one = dataclasses.replace(MODERN, layers=1)
  with pytest.raises(UserError, match='2 layers or more in INIT_FROM'):
    tiling.tile({}, one, MODERN)
