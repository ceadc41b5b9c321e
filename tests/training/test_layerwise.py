"""By hand, for two layers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax.errors import UserError
from bertjax.training import layerwise, optimizer

PARAMETERS = {
  'embeddings': {'token': jnp.ones(2)},
  'encoder': {
    'layer_00': {'kernel': jnp.ones(2)},
    'layer_01': {'kernel': jnp.ones(2)},
  },
  'pooler': {'kernel': jnp.ones(2)},
  'classifier': {'kernel': jnp.ones(2)},
}


def update(chain, gradients):
  updates, _ = chain.update(gradients, chain.init(PARAMETERS), PARAMETERS)
  return [
    float(x[0])
    for x in (
      updates['embeddings']['token'],
      updates['encoder']['layer_00']['kernel'],
      updates['encoder']['layer_01']['kernel'],
      updates['pooler']['kernel'],
      updates['classifier']['kernel'],
    )
  ]


def test_the_rate_falls_by_the_decay_from_layer_to_layer():
  ones = jax.tree.map(jnp.ones_like, PARAMETERS)
  found = update(layerwise.scale(optax.sgd(1.0), 2, decay=0.5), ones)
  np.testing.assert_allclose(found, [-0.125, -0.25, -0.5, -1, -1])


def test_frozen_layers_do_not_move_even_where_they_decay():
  ones = jax.tree.map(jnp.ones_like, PARAMETERS)
  chain = layerwise.scale(optimizer.adamw(0.1, weight_decay=0.5), 2, frozen=1)
  found = update(chain, ones)
  assert found[:2] == [0.0, 0.0] and all(x < -0.1 for x in found[2:])


def test_frozen_gradients_do_not_count_in_the_norm_that_is_clipped():
  gradients = jax.tree.map(jnp.zeros_like, PARAMETERS)
  gradients['embeddings']['token'] = 1e6 * jnp.ones(2)
  gradients['classifier']['kernel'] = jnp.array([0.6, 0.8])
  clipped = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0))
  found = update(layerwise.scale(clipped, 2, frozen=0), gradients)
  np.testing.assert_allclose(found[-1], -0.6, rtol=1e-6)


def test_fresh_layers_are_left_out_of_what_is_loaded():
  left = layerwise.without_top(PARAMETERS, layers=2, count=1)
  assert set(left) == {'embeddings', 'encoder', 'classifier'}
  assert set(left['encoder']) == {'layer_00'}
  assert layerwise.without_top(PARAMETERS, 2, 0) is PARAMETERS
  modern = PARAMETERS | {'prediction_head': PARAMETERS['pooler']}
  assert set(layerwise.without_top(modern, 2, 1)) == set(left)
  assert 'prediction_head' in layerwise.without_top(modern, 2, 0)


@pytest.mark.parametrize(
  'make, setting',
  [
    (lambda: layerwise.scale(optax.sgd(1.0), 2, decay=0), 'LAYER_DECAY'),
    (lambda: layerwise.scale(optax.sgd(1.0), 2, frozen=3), 'FROZEN_LAYERS'),
    (lambda: layerwise.without_top(PARAMETERS, 2, 3), 'FRESH_LAYERS'),
  ],
)
def test_numbers_that_cannot_be_are_refused(make, setting):
  with pytest.raises(UserError, match=setting):
    make()


def test_what_stands_after_the_last_layer_moves_as_the_head_does():
  parameters = {'encoder': {'layer_00': 1.0, 'layer_01': 1.0, 'last_norm': 1.0}}
  slowed = layerwise.scale(optax.sgd(1.0), layers=2, decay=0.5, frozen=1)
  updates, _ = slowed.update(parameters, slowed.init(parameters))
  assert jax.tree.map(float, updates)['encoder'] == {
    'layer_00': 0.0,
    'layer_01': -0.5,
    'last_norm': -1.0,
  }
