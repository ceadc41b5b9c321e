"""jax 0.10.2 on CPUs makes a vmapped product with a vector and a sum wrong.

https://github.com/jax-ml/jax/issues/39103: the last row is wrong for some
numbers of rows, such as 32,769. Losses have that form (the product of a head,
then sums), so all of them are compared with numpy, with as many rows.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from bertjax.tasks import kinds
from bertjax.training.abstract_objective import cross_entropy

ROWS = 32_769
WRONG = ('0.10.2',)


def test_only_versions_that_are_known_are_wrong():
  """If this fails, jax has changed: edit WRONG, or delete this test."""
  rows = np.zeros([ROWS, 3], np.float32)
  rows[:, 0] = np.arange(ROWS)
  matrix = jnp.eye(3)
  found = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(rows)
  expected = np.sum(rows.astype(np.float64) ** 2, axis=1)
  is_right = np.allclose(found, expected, rtol=1e-5)
  assert is_right == (jax.__version__ not in WRONG)


def features_and_kernel(width, classes):
  rng = np.random.default_rng(0)
  features = rng.normal(size=[ROWS, width])
  features[:, 0] = np.arange(ROWS) / ROWS  # so that no two rows are alike
  return features, rng.normal(size=[width, classes])


def cross_entropies(logits, labels):
  return -np.take_along_axis(
    special.log_softmax(logits, -1), labels[..., None], -1
  )[..., 0]


def expected_losses(kind, logits, labels):
  """In float64, from the definitions."""
  if kind in ('classes', 'tags'):
    return cross_entropies(logits, labels)
  if kind == 'number':
    return (logits[..., 0] - labels) ** 2
  log_p, log_not_p = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
  return -np.mean(labels * log_p + (1 - labels) * log_not_p, axis=-1)


@pytest.mark.parametrize('kind', ['classes', 'number', 'labels', 'tags'])
def test_losses_of_tasks_are_right_in_every_row(kind):
  classes = 1 if kind == 'number' else 3
  features, kernel = features_and_kernel(3, classes)
  rng = np.random.default_rng(1)
  labels = {
    'number': lambda: rng.normal(size=ROWS),
    'labels': lambda: rng.integers(0, 2, [ROWS, classes]),
  }.get(kind, lambda: rng.integers(0, classes, ROWS))()

  def loss(row, label):
    return kinds.KINDS[kind].loss(row @ kernel32, label, None)

  kernel32 = jnp.asarray(kernel, jnp.float32)
  rows, goals = features.astype(np.float32), labels.astype(np.float32)
  if kind in ('classes', 'tags'):
    goals = labels.astype(np.int32)
  expected = expected_losses(kind, features @ kernel, labels)
  for found in (jax.jit(loss), jax.jit(jax.vmap(loss))):
    np.testing.assert_allclose(
      found(rows, goals), expected, rtol=1e-4, atol=1e-5
    )


def test_span_losses_are_right_in_every_row():
  features, kernel = features_and_kernel(3, 2)
  length = 3
  logits = np.repeat((features @ kernel)[:, None], length, 1)
  logits += np.arange(length)[:, None] * [0.5, -0.25]
  labels = np.random.default_rng(1).integers(0, length, [ROWS, 1, 2])
  found = jax.jit(kinds.KINDS['spans'].loss)(
    logits.astype(np.float32),
    labels.astype(np.int32),
    np.ones([ROWS, length], np.int32),
  )
  expected = np.mean(
    cross_entropies(logits.swapaxes(1, 2), labels[:, 0]), axis=-1
  )
  np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_the_cross_entropy_of_pretraining_is_right_in_every_row():
  features, kernel = features_and_kernel(3, 5)
  targets = np.random.default_rng(1).integers(0, 5, ROWS)

  @jax.jit
  def terms(features, weights):
    return cross_entropy(features @ kernel.astype(np.float32), targets, weights)

  expected = cross_entropies(features @ kernel, targets)
  hits = (features @ kernel).argmax(-1) == targets
  for weights in np.ones(ROWS), (np.arange(ROWS) == ROWS - 1):
    loss, correct, count = terms(
      features.astype(np.float32), weights.astype(np.float32)
    )
    np.testing.assert_allclose(loss, (expected * weights).sum(), rtol=1e-4)
    np.testing.assert_allclose(correct, (hits * weights).sum(), rtol=1e-4)
    assert count == weights.sum()
