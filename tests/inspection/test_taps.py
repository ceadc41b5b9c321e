"""Taps against the model itself; and that nobody pays for them."""

import dataclasses
import re

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from bertjax import batch as batch_lib
from bertjax.errors import UserError
from bertjax.inspection import taps
from bertjax.models import layers
from bertjax.models.bert import Bert, BertForPreTraining, BertForTask
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning
from bertjax.training import objectives, state, step

TINY = EncoderConfig(
  vocabulary_size=40,
  width=16,
  layers=2,
  heads=2,
  feed_forward=32,
  positions=12,
  initializer_stddev=0.3,
)
BATCH = batch_lib.synthetic(3, 12, 2, 40, seed=0, sequences=2)
REAL = BATCH['segments'] > 0
WEIGHTS = 'layer_*/attention/weights'


@pytest.fixture(scope='module')
def parameters():
  shapes = jax.eval_shape(
    lambda: nn.unbox(
      BertForPreTraining(TINY).init(jax.random.key(0), BATCH, train=False)
    )
  )['params']
  random = np.random.RandomState(0)
  return jax.tree.map(
    lambda x: 0.3 * random.randn(*x.shape).astype(np.float32), shapes
  )


@pytest.fixture(scope='module')
def found(parameters, compiled_quickly):
  return taps.collect(BertForPreTraining(TINY), parameters, BATCH)


def test_every_intermediate_has_a_name_and_the_shape_that_it_says(found):
  listed = taps.names(BertForPreTraining(TINY), BATCH)
  assert {name: (x.shape, x.dtype) for name, x in listed.items()} == {
    name: (x.shape, x.dtype) for name, x in found.items()
  }
  hidden, heads = (3, 12, 16), (3, 12, 2, 8)
  for name, shape in {
    'embeddings': hidden,
    'embeddings/token': hidden,
    'encoder': hidden,
    'encoder/layer_01': hidden,
    'encoder/layer_01/attention': hidden,
    'encoder/layer_01/attention/query': heads,
    'encoder/layer_01/attention/context': heads,
    'encoder/layer_01/attention/weights': (3, 2, 12, 12),
    'encoder/layer_01/feed_forward': hidden,
    'encoder/layer_01/feed_forward/activation': (3, 12, 32),
    'pooled': (3, 2, 16),
    'mlm_head': (3, 2, 40),
    'nsp_logits': (3, 2, 2),
  }.items():
    assert listed[name].shape == shape, name


def test_taps_fit_together_as_the_model_computes_them(found):
  np.testing.assert_array_equal(found['encoder'], found['encoder/layer_01'])
  layer = {
    name.removeprefix('encoder/layer_01/attention/'): np.asarray(x)
    for name, x in found.items()
    if 'layer_01/attention/' in name
  }
  same = BATCH['segments'][:, None, :, None] == BATCH['segments'][:, None, None]
  scores = np.einsum('BLHK,BMHK->BHLM', layer['query'], layer['key']) / 8**0.5
  powers = np.exp(scores) * same
  weights = (powers / powers.sum(-1, keepdims=True)).swapaxes(1, 2)
  np.testing.assert_allclose(
    layer['weights'].swapaxes(1, 2)[REAL], weights[REAL], atol=1e-5
  )
  np.testing.assert_allclose(
    layer['context'][REAL],
    np.einsum('BLHM,BMHK->BLHK', weights, layer['value'])[REAL],
    atol=1e-5,
  )


@pytest.mark.parametrize(
  'change',
  [
    {'scan_layers': True, 'recompute': 'everything'},
    {'attention_kernel': 'dot_product'},
    {'attention_kernel': 'splash'},  # takes no length of 12
  ],
)
def test_a_model_in_any_form_has_all_taps(parameters, found, change):
  model = BertForPreTraining(dataclasses.replace(TINY, **change))
  other = taps.collect(model, parameters, BATCH, [WEIGHTS, 'hidden'])
  assert sorted(other) == [
    'encoder/layer_00/attention/weights',
    'encoder/layer_01/attention/weights',
    'hidden',
  ]
  for name, array in other.items():
    np.testing.assert_allclose(array, found[name], atol=1e-6)
  assert taps.stack(other, WEIGHTS).shape == (2, 3, 2, 12, 12)
  if 'scan_layers' in change:
    outputs = jax.jit(
      lambda: model.apply({'params': parameters}, BATCH, train=False)
    )()
    for name, output in outputs.items():
      np.testing.assert_allclose(output, found[name], atol=1e-5)


@pytest.mark.parametrize(
  'model, some',
  [
    (Bert(TINY), {'hidden', 'encoder/layer_00'}),
    (BertForTask(TINY, 'classifier', 3), {'pooled', 'classifier', 'logits'}),
    (BertForTask(TINY, 'tag_head', 5), {'tag_head', 'logits'}),
  ],
)
def test_every_model_has_taps(model, some):
  assert some < set(taps.names(model, BATCH))


def test_gradients_are_those_of_finite_differences(
  parameters, compiled_quickly
):
  objective = objectives.MaskedLanguageModel(BertForPreTraining(TINY))
  name = 'encoder/layer_01/feed_forward/output'
  found, gradients = taps.collect_with_gradients(
    objective, parameters, BATCH, [name]
  )
  assert set(found) == set(gradients) == {name}

  @jax.jit
  def loss(shift):  # the bias is added to every position
    shifted = jax.tree.map(lambda x: x, parameters)
    layer = shifted['encoder']['layer_01']['feed_forward']['output']
    layer['bias'] = layer['bias'] + shift
    terms = objective(shifted, BATCH, None, train=False)
    return terms['mlm_loss'][0] + terms['nsp_loss'][0]

  direction = np.random.RandomState(0).randn(16).astype(np.float32)
  slope = (loss(0.01 * direction) - loss(-0.01 * direction)) / 0.02
  assert float(slope) == pytest.approx(
    float((gradients[name].sum((0, 1)) * direction).sum()), rel=2e-3
  )


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest(parameters):
  model = BertForPreTraining(TINY)
  with pytest.raises(UserError, match=r"did you mean 'layer_\*/attention/weig"):
    taps.collect(model, parameters, BATCH, ['layer_*/atention/weight'])
  with pytest.raises(UserError, match="no tap matches 'layer_07'"):
    taps.collect(model, parameters, BATCH, ['encoder', 'layer_07'])
  with pytest.raises(UserError, match='expected a list of patterns'):
    taps.collect(model, parameters, BATCH, WEIGHTS)
  with pytest.raises(UserError, match='no tap matches'):
    taps.stack({}, WEIGHTS)


def test_training_is_the_same_program_without_taps(monkeypatch):
  """The compiled text of the step, but for where in the sources it is from."""

  def program():
    config = dataclasses.replace(
      TINY, layers=1, dropout=0.0, attention_kernel='einsum'
    )
    objective = objectives.MaskedLanguageModel(BertForPreTraining(config))
    optimizer = optax.sgd(0.1)
    shapes = {
      k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in BATCH.items()
    }
    start = state.abstract(
      objective,
      optimizer,
      shapes,
      partitioning.make_mesh(devices=jax.devices()[:1]),
    )
    text = (
      jax.jit(
        lambda *arguments: step.train_step(
          *arguments, objective=objective, optimizer=optimizer
        )
      )
      .lower(start, shapes, jax.random.key(0))
      .compile()
      .as_text()
    )
    tables = r'^(File|Function|Stack)\w+\n(\d+ .*\n)+'
    text = re.sub(tables, '', text, flags=re.MULTILINE)
    return re.sub(r' stack_frame_id=\d+', '', text)

  calls = []
  look = layers.Tap.__call__
  monkeypatch.setattr(
    layers.Tap,
    '__call__',
    lambda self, value: calls.append(self.name) or look(self, value),
  )
  with_taps = program()
  assert {'weights', 'context', 'activation', 'pooled'} <= set(calls)
  monkeypatch.setattr(layers, 'Tap', lambda name: lambda value: value)
  assert program() == with_taps
  assert 'op_name' in with_taps and '.py"' not in with_taps
