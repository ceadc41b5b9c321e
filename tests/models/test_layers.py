"""Dropout's statistics; the norm against its formula in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models import layers
from bertjax.models.config import EncoderConfig

CONFIG = EncoderConfig(
  vocabulary_size=60, width=32, layers=2, heads=4, feed_forward=64
)


def drop(rate, inputs, key=0, train=True):
  return layers.Dropout(rate).apply(
    {}, inputs, train, rngs={'dropout': jax.random.key(key)}
  )


@pytest.mark.parametrize('rate', [0.1, 0.37, 0.9])
def test_dropout_zeroes_its_rate_and_keeps_the_expectation(rate):
  outputs = np.asarray(drop(rate, jnp.ones((500, 401))))
  size = outputs.size
  zeros = (outputs == 0).mean()
  assert abs(zeros - rate) < 4 * np.sqrt(rate * (1 - rate) / size)
  assert abs(outputs.mean() - 1) < 4 * np.sqrt(rate / (1 - rate) / size)
  np.testing.assert_allclose(outputs[outputs != 0], 1 / (1 - rate), rtol=1e-4)


def as_bits(key, shape):
  """Returns bool[..., 32], the bits of every word."""
  words = np.asarray(layers.hash_bits(key, shape))
  return words[..., None] >> np.arange(32, dtype=np.uint32) & 1 > 0


def assert_uncorrelated(bits, others):
  """Each of 32 bits with each of 32 others, within 5.5 deviations.

  Of 1,024 normal values one beyond 5.5 has a probability of 4e-5.
  """
  signs, others = (
    np.where(x, 1.0, -1.0).astype(np.float32).reshape(-1, 32)
    for x in (bits, others)
  )
  assert np.abs(signs.T @ others).max() < 5.5 * np.sqrt(len(signs))


@pytest.mark.parametrize(
  'axis, shift', [(0, 1), (1, 1), (2, 1), (2, 64), (2, 128), (1, 16)]
)
def test_every_bit_of_an_element_is_independent_of_its_neighbours(axis, shift):
  bits = as_bits(jax.random.key(0), (32, 32, 256))
  assert_uncorrelated(bits, np.roll(bits, shift, axis))
  deviation = 0.5 / np.sqrt(bits.size / 32)
  assert np.abs(bits.mean((0, 1, 2)) - 0.5).max() < 5 * deviation


def test_bits_of_steps_and_layers_are_independent():
  run = jax.random.key(0)
  shape = (32, 32, 256)
  first = as_bits(jax.random.fold_in(run, 0), shape)
  assert_uncorrelated(first, as_bits(jax.random.fold_in(run, 1), shape))
  assert_uncorrelated(first, as_bits(jax.random.key(1), shape))
  # Keys next to each other, which no generator that folds gives.
  keys = [jax.random.wrap_key_data(jnp.uint32(x)) for x in ((5, 7), (6, 7))]
  assert_uncorrelated(*(as_bits(key, shape) for key in keys))


def test_words_are_as_good_as_distinct():
  # 2 ** 22 words of 2 ** 32: 2,048 pairs are expected to be equal.
  words = np.asarray(layers.hash_bits(jax.random.key(3), (8, 512, 1024)))
  equal = words.size - len(np.unique(words))
  assert abs(equal - 2048) < 5 * np.sqrt(2048)


def test_bits_depend_on_the_place_and_not_on_how_many_rows_there_are():
  key = jax.random.key(0)
  np.testing.assert_array_equal(
    layers.hash_bits(key, (2, 7, 9)), layers.hash_bits(key, (5, 7, 9))[:2]
  )
  assert layers.hash_bits(key, (4,)).shape == (4,)
  raw = jax.random.key_data(key)  # a key as jax once had them
  np.testing.assert_array_equal(
    layers.hash_bits(key, (4,)), layers.hash_bits(raw, (4,))
  )


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
  exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(
    exact.var(-1, keepdims=True) + 1e-12
  )
  np.testing.assert_allclose(norm.apply(variables, inputs), exact, atol=1e-4)


def test_norm_of_half_precision_is_as_good_as_the_rounding_of_its_inputs():
  inputs = (np.random.RandomState(0).randn(64, 768) + 20).astype(np.float32)
  half = jnp.asarray(inputs, jnp.bfloat16)
  norm = layers.norm(dataclasses.replace(CONFIG, dtype='bfloat16'), None)
  exact = layers.norm(dataclasses.replace(CONFIG, dtype='float32'), None)
  variables = norm.init(jax.random.key(0), half)
  rounded = np.asarray(half, np.float32)
  error = np.abs(
    norm.apply(variables, half).astype(jnp.float32)
    - exact.apply(variables, rounded)
  ).max()
  of_inputs = np.abs(
    exact.apply(variables, rounded) - exact.apply(variables, inputs)
  ).max()
  assert error < of_inputs
