"""Dropout's statistics; the norm against its formula in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models import layers
from bertjax.models.config import EncoderConfig

CONFIG = EncoderConfig(
    vocabulary_size=60, width=32, layers=2, heads=4, feed_forward=64)


def drop(rate, inputs, key=0, train=True):
  return layers.Dropout(rate).apply(
      {}, inputs, train, rngs={'dropout': jax.random.key(key)})


@pytest.mark.parametrize('rate', [0.1, 0.37, 0.9])
def test_dropout_zeroes_its_rate_and_keeps_the_expectation(rate):
  outputs = np.asarray(drop(rate, jnp.ones((500, 401))))
  size = outputs.size
  zeros = (outputs == 0).mean()
  assert abs(zeros - rate) < 4 * np.sqrt(rate * (1 - rate) / size)
  assert abs(outputs.mean() - 1) < 4 * np.sqrt(rate / (1 - rate) / size)
  np.testing.assert_allclose(outputs[outputs != 0], 1 / (1 - rate), rtol=1e-4)


@pytest.mark.parametrize('shift', [(0, 1), (1, 0), (0, 64), (0, 256)])
def test_dropout_decides_for_every_element_alone(shift):
  # 256 apart in a row of 512 are the two halves of one random word.
  kept = np.asarray(drop(0.5, jnp.ones((400, 512)))) > 0
  both = (kept == np.roll(kept, shift, axis=(0, 1))).mean()
  assert abs(both - 0.5) < 4 * 0.5 / np.sqrt(kept.size)


def test_dropout_changes_with_its_key_and_is_off_outside_training():
  inputs = jnp.ones((64, 65))
  assert (drop(0.5, inputs, key=0) != drop(0.5, inputs, key=1)).mean() > 0.4
  np.testing.assert_array_equal(drop(0.5, inputs, train=False), inputs)
  np.testing.assert_array_equal(drop(0.0, inputs), inputs)


def test_dropout_passes_gradients_where_it_passes_values():
  inputs = jnp.full((32, 33), 2.0)
  gradient = jax.grad(lambda inputs: drop(0.5, inputs).sum())(inputs)
  np.testing.assert_array_equal(gradient * 2.0, drop(0.5, inputs))


def test_norm_equals_its_formula_also_far_from_zero():
  inputs = np.random.RandomState(0).randn(5, 32).astype(np.float32) + 100
  norm = layers.norm(CONFIG, None)
  variables = norm.init(jax.random.key(0), inputs)
  exact = inputs.astype(np.float64)
  exact = ((exact - exact.mean(-1, keepdims=True))
           / np.sqrt(exact.var(-1, keepdims=True) + 1e-12))
  np.testing.assert_allclose(norm.apply(variables, inputs), exact, atol=1e-4)
