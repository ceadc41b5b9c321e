"""What another row in each table of the model does, with rows made up here."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax import batch as batch_lib
from bertjax.errors import UserError
from bertjax.models import (
  attention_mask,
  feed_forward,
  flops,
  layer_patterns,
)
from bertjax.models.attention_mask import AttentionMask, Rule
from bertjax.models.bert import Bert
from bertjax.models.config import EncoderConfig
from bertjax.models.encoder import Encoder
from bertjax.models.feed_forward import FeedForwardBlock
from bertjax.models.layer_patterns import LayerSpec
from bertjax.training import optimizer

CONFIG = EncoderConfig(
  vocabulary_size=60,
  width=16,
  layers=1,
  heads=2,
  feed_forward=32,
  positions=24,
  dropout=0.0,
)


ROWS = (
  (attention_mask.RULES, 'causal', Rule(lambda query, key: key <= query)),
)
LOCAL = {'layer_pattern': 'local_global', 'local_window': 4}


@pytest.fixture(autouse=True)
def rows(monkeypatch):
  for table, name, row in ROWS:
    monkeypatch.setitem(table, name, row)


def make(fields):
  return Bert(dataclasses.replace(CONFIG, **fields))


def make_batch(rows=2, length=8):
  random = np.random.RandomState(0)
  return {
    'tokens': random.randint(5, 50, (rows, length)),
    'types': np.zeros((rows, length), np.int32),
    'positions': np.tile(np.arange(length), (rows, 1)),
    'segments': np.ones((rows, length), np.int32),
  }


def init(model, batch):
  boxed = model.init(jax.random.key(0), batch, train=False)['params']
  # Nothing is left at a 0 or 1 that would hide it.
  return jax.tree.map(
    lambda x: x + 0.2 * jax.random.normal(jax.random.key(x.size), x.shape),
    nn.unbox(boxed),
  )


def hidden(model, parameters, batch):
  return model.apply({'params': parameters}, batch, train=False)['hidden']


@pytest.mark.parametrize('scheme', ['rotary', 'alibi'])
def test_positions_within_attention_count_by_their_differences(scheme):
  model, batch = make({'position_scheme': scheme}), make_batch()
  parameters = init(model, batch)
  assert set(parameters['embeddings']) == {'token', 'type', 'norm'}
  found = hidden(model, parameters, batch)
  moved = batch | {'positions': batch['positions'] + 3}
  stretched = batch | {'positions': batch['positions'] * 2}
  np.testing.assert_allclose(hidden(model, parameters, moved), found, atol=2e-5)
  for other_model, other in (
    (model, stretched),
    (make({'position_scheme': 'none'}), batch),
  ):
    difference = hidden(other_model, parameters, other) - found
    assert np.abs(difference).max() > 1e-3


def test_positions_have_the_base_of_their_layer(monkeypatch):
  plain = Encoder(dataclasses.replace(CONFIG, position_scheme='rotary'))
  hidden_BLD = jax.random.normal(jax.random.key(1), (1, 8, 16))
  mask = AttentionMask(jnp.ones((1, 8), int), jnp.arange(8)[None])
  variables = plain.init(jax.random.key(0), hidden_BLD, mask, False)
  monkeypatch.setitem(
    layer_patterns.PATTERNS,
    'base_100',
    lambda config, index: LayerSpec(position_base=100.0),
  )
  other = Encoder(dataclasses.replace(plain.config, layer_pattern='base_100'))
  difference = other.apply(variables, hidden_BLD, mask, False) - plain.apply(
    variables, hidden_BLD, mask, False
  )
  assert np.abs(difference).max() > 1e-5


@pytest.mark.parametrize(
  'fields, seen',
  [
    ({'attention_rule': 'all'}, 'first and last'),
    ({'attention_rule': 'causal'}, 'first'),
    ({'local_window': 4}, ''),
    ({'local_window': 4, 'attention_rule': 'causal'}, ''),
    ({'local_window': 14}, 'first and last'),
    ({'local_window': 12}, ''),
    (LOCAL, 'first and last'),
    ({**LOCAL, 'global_every': 1, 'layers': 2}, 'first and last'),
  ],
)
def test_a_token_is_seen_by_those_that_may_attend_to_it(fields, seen):
  model, batch = make(fields), make_batch(rows=1)
  parameters = init(model, batch)
  found = hidden(model, parameters, batch)
  for column, other, word in ((0, 7, 'first'), (7, 0, 'last')):
    tokens = batch['tokens'].copy()
    tokens[0, column] = 51
    changed = hidden(model, parameters, batch | {'tokens': tokens})
    differs = np.abs(changed - found)[0].max(-1) > 0
    assert differs[other] == (word in seen)
    assert differs[column]


def test_a_norm_after_the_last_layer_belongs_to_the_encoder():
  model, batch = make({'block_order': 'pre', 'layers': 2}), make_batch()
  parameters = init(model, batch)['encoder']
  assert set(parameters) == {'layer_00', 'layer_01', 'final_norm'}
  mask = optimizer.decay_mask({'encoder': parameters})['encoder']
  assert not any(jax.tree.leaves(mask['final_norm']))
  assert not any(jax.tree.leaves(mask['layer_00']['attention_norm']))


def test_every_norm_is_of_the_kind_that_is_named():
  paths = [
    jax.tree_util.keystr(path, simple=True, separator='/')
    for path, _ in jax.tree_util.tree_leaves_with_path(
      init(make({'norm': 'rms_norm'}), make_batch())
    )
  ]
  norms = [path for path in paths if 'norm' in path]
  assert len(norms) == 3 and all(path.endswith('/scale') for path in norms)


@pytest.mark.parametrize(
  'pattern, count, looped, after',
  [
    ('local_global', 6, 3, 0),
    ('local_global', 5, 3, 2),
    ('uniform', 5, 1, 0),
    ('aba_ab', 5, 3, 2),  # what is looped alone has a shorter period
    ('first_unlike_others', 7, 3, 1),
  ],
)
def test_a_loop_holds_one_period_and_what_is_left_over_comes_after(
  pattern, count, looped, after, monkeypatch
):
  """Seen by how often the softmax of attention stands in the program."""
  monkeypatch.setitem(
    layer_patterns.PATTERNS,
    'aba_ab',
    lambda config, index: LayerSpec(('all', 'causal')[index % 3 % 2]),
  )
  fields = {'layer_pattern': pattern}
  if pattern == 'first_unlike_others':
    fields = {**LOCAL, 'block_order': 'pre', 'first_norm': False}
  elif pattern == 'local_global':
    fields = LOCAL
  model = make({**fields, 'layers': count, 'scan_layers': True})
  batch = make_batch()
  parameters = init(model, batch)
  program = jax.make_jaxpr(lambda p: hidden(model, p, batch))(parameters)
  (loop,) = (x for x in program.eqns if x.primitive.name == 'scan')
  inside = str(loop.params['jaxpr']).count(' exp ')
  everywhere = str(program).count(' exp ')
  assert (inside, everywhere - inside) == (looped, after)


def test_layers_in_one_turn_of_a_loop_drop_other_elements_out():
  """Equal layers twice, in a loop of period 2, against the same key twice."""
  hidden_BLD = jax.random.normal(jax.random.key(1), (2, 8, 16))
  mask = AttentionMask(jnp.ones((2, 8), int), jnp.tile(jnp.arange(8), (2, 1)))
  config = dataclasses.replace(CONFIG, **LOCAL, dropout=0.5, layers=2)
  config = dataclasses.replace(config, attention_dropout=0.0, scan_layers=True)
  two, one = Encoder(config), Encoder(dataclasses.replace(config, layers=1))
  layer = nn.unbox(
    one.init(jax.random.key(0), hidden_BLD, mask, False)['params']
  )['layer_00']

  def apply(model, names, hidden_BLD, train):
    return model.apply(
      {'params': dict.fromkeys(names, layer)},
      hidden_BLD,
      # Their rules differ, but not for sequences of one token.
      dataclasses.replace(mask, segments_BL=jnp.tile(jnp.arange(1, 9), (2, 1))),
      train,
      rngs={'dropout': jax.random.key(2)},
    )

  for train in (False, True):
    once = apply(one, ['layer_00'], hidden_BLD, train)
    twice = apply(one, ['layer_00'], once, train)
    both = apply(two, ['layer_00', 'layer_01'], hidden_BLD, train)
    assert np.allclose(both, twice, atol=1e-5) == (not train)


class Noise(nn.Module):
  @nn.compact
  def __call__(self, x):
    return x + jax.random.normal(self.make_rng('noise'), x.shape)


def test_a_loop_hands_every_random_stream_to_its_layers(monkeypatch):
  noisy = FeedForwardBlock(lambda config, x: Noise()(x), products=0)
  monkeypatch.setitem(feed_forward.FEED_FORWARDS, 'noisy', noisy)
  model, batch = (
    make({'feed_forward_block': 'noisy', 'scan_layers': True, 'layers': 2}),
    make_batch(),
  )
  keys = {'params': jax.random.key(0), 'noise': jax.random.key(0)}
  variables = nn.unbox(model.init(keys, batch, train=True))
  first, again, other = (
    model.apply(
      variables,
      batch,
      train=True,
      rngs={'dropout': jax.random.key(0), 'noise': jax.random.key(key)},
    )['hidden']
    for key in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - other).max() > 0.1


def test_products_of_the_feed_forward_block_are_counted():
  shapes = batch_lib.shapes(4, 16, 3)
  config = dataclasses.replace(CONFIG, layers=3)
  two, three = (
    flops.of_forward(
      dataclasses.replace(config, feed_forward_block=name), shapes, True
    )
    for name in ('dense', 'gated')
  )
  # One more product of 64 positions, D and F, in 3 layers.
  assert three['layers'] - two['layers'] == 2 * 64 * 16 * 32 * 3
  assert {**two, 'layers': 0} == {**three, 'layers': 0}


@pytest.mark.parametrize(
  'field',
  [
    'position_scheme',
    'norm',
    'block_order',
    'feed_forward_block',
    'attention_rule',
    'layer_pattern',
    'activation',
    'attention_kernel',
    'recompute',
  ],
)
def test_a_row_that_is_not_there_is_refused_with_the_nearest(field):
  name = getattr(CONFIG, field)
  with pytest.raises(UserError) as caught:
    make({field: f'{name}s'}).init(jax.random.key(0), make_batch(), train=False)
  assert f"did you mean '{name}'" in str(caught.value)
  assert f'set EncoderConfig.{field}' in str(caught.value)
