"""The one pass over logits that a TPU makes, against jax's two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from bertjax.parallel import partitioning
from bertjax.training import log_normalizer

# Padding of a vocabulary, equal best logits, one class alone, large numbers.
LOGITS = np.random.RandomState(0).randn(8, 3, 64).astype(np.float32) * 9
LOGITS[..., 60:] = -1e30
LOGITS[0, 0, [5, 9]] = 50.0
LOGITS[1, 0, :] = -1e30
LOGITS[1, 0, 7] = 3.0
LOGITS[2] += 3000


def loss(function, logits):
  log_normalizer_X, best_X = function(logits)
  return jnp.sum(jnp.sin(log_normalizer_X)), (log_normalizer_X, best_X)


@pytest.mark.parametrize('axes', [None, (2, 1, 1), (2, 1, 2)])
def test_one_pass_equals_two_in_values_and_gradients(axes):
  logits = LOGITS
  if axes:
    mesh = partitioning.make_mesh(
      *axes, devices=jax.devices()[: int(np.prod(axes))]
    )
    logits = jax.device_put(
      logits,
      NamedSharding(mesh, PartitionSpec(('data', 'fsdp'), None, 'tensor')),
    )

  def find(function):
    return jax.jit(
      jax.value_and_grad(lambda logits: loss(function, logits), has_aux=True)
    )(logits)

  (_, (normalizer, best)), gradient = find(log_normalizer.in_one_pass)
  (_, (expected, expected_best)), expected_gradient = find(
    log_normalizer.and_best
  )
  np.testing.assert_allclose(normalizer, expected, rtol=1e-6, atol=1e-6)
  np.testing.assert_array_equal(best, expected_best)
  np.testing.assert_array_equal(best, LOGITS.argmax(-1))
  np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-6)
