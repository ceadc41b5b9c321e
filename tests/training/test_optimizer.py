"""Every optimizer against the formulas of its paper, written out in numpy."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax.training import optimizer

RATE, DECAY, BETA1, BETA2, EPSILON = 0.01, 0.1, 0.9, 0.98, 1e-6


def reference(parameters, gradients, *, kind, bias_correction, clip_norm):
  """Updates named arrays by a list of gradients, in float64.

  Adam: Kingma and Ba 2015, algorithm 1. Decay: Loshchilov and Hutter 2019,
  algorithm 2. LAMB: You et al. 2020, algorithm 2. A name with 'kernel' or
  'table' decays and is scaled, any other is not.
  """
  x = {name: np.array(value, np.float64) for name, value in parameters.items()}
  m = {name: np.zeros_like(value) for name, value in x.items()}
  v = {name: np.zeros_like(value) for name, value in x.items()}
  for t, gradient in enumerate(gradients, start=1):
    gradient = {k: np.array(g, np.float64) for k, g in gradient.items()}
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    shrink = 1 if clip_norm is None else min(1, clip_norm / norm)
    for name, g in gradient.items():
      g = g * shrink
      m[name] = BETA1 * m[name] + (1 - BETA1) * g
      v[name] = BETA2 * v[name] + (1 - BETA2) * g**2
      mean, square = m[name], v[name]
      if bias_correction:
        mean = mean / (1 - BETA1**t)
        square = square / (1 - BETA2**t)
      direction = mean / (np.sqrt(square) + EPSILON)
      is_weight = 'kernel' in name or 'table' in name
      if is_weight:
        direction = direction + DECAY * x[name]
      if is_weight and kind == 'lamb':
        ratio = np.linalg.norm(x[name]) / np.linalg.norm(direction)
        direction = direction * ratio
      x[name] = x[name] - RATE * direction
  return x


TABLE = {
  f'{kind}, correction {correction}, clip {clip}': dict(
    kind=kind, bias_correction=correction, clip_norm=clip
  )
  for kind in ('adamw', 'lamb')
  for correction in (True, False)
  for clip in (1.0, None)
}
every_optimizer = pytest.mark.parametrize('name', TABLE)


def make(name, rate=RATE):
  arguments = dict(TABLE[name])
  return getattr(optimizer, arguments.pop('kind'))(
    rate, DECAY, BETA1, BETA2, EPSILON, **arguments
  )


def make_parameters(seed=0):
  rng = np.random.default_rng(seed)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
  return {
    'tokens': {'table': draw(5, 3)},
    'layer': {
      'dense': {'kernel': draw(3, 4), 'bias': draw(4)},
      'output_norm': {'scale': draw(4), 'bias': draw(4)},
    },
  }


def flatten(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
  }


@functools.cache
def compiled_update(name):
  return jax.jit(make(name).update)


def run(name, parameters, gradients):
  """Returns the parameters after an update with each of the gradients."""
  state = make(name).init(parameters)
  for gradient in gradients:
    updates, state = compiled_update(name)(gradient, state, parameters)
    parameters = optax.apply_updates(parameters, updates)
  return parameters


@every_optimizer
def test_it_equals_the_formulas_of_its_paper(name):
  parameters = make_parameters()
  # Of norm about 5 and 0.05: above and below what is clipped.
  gradients = [
    jax.tree.map(lambda x: x * size, make_parameters(seed))  # noqa: B023
    for seed, size in [(1, 1.0), (2, 0.01), (3, 1.0), (4, 1.0), (5, 0.01)]
  ]
  updated = run(name, parameters, gradients)
  expected = reference(
    flatten(parameters), [flatten(g) for g in gradients], **TABLE[name]
  )
  for key, value in flatten(updated).items():
    np.testing.assert_allclose(  # float32 against float64
      value, expected[key], rtol=1e-5, atol=1e-6, err_msg=key
    )


@every_optimizer
def test_zero_gradients_move_only_what_decays(name):
  parameters = make_parameters()
  zeros = jax.tree.map(jnp.zeros_like, parameters)
  before = flatten(parameters)
  after = flatten(run(name, parameters, [zeros]))
  for key in before:
    decays = key in ('tokens/table', 'layer/dense/kernel')
    assert (before[key] != after[key]).any() == decays, key
    assert (np.abs(after[key]) <= np.abs(before[key])).all(), key


@every_optimizer
def test_a_parameter_of_zeros_can_leave_zero(name):
  parameters = jax.tree.map(jnp.zeros_like, make_parameters())
  updated = run(name, parameters, [make_parameters(1)])
  assert all((value != 0).all() for value in flatten(updated).values())


@every_optimizer
def test_the_schedule_is_asked_for_the_number_of_updates_made(name):
  rates = jnp.array([0.0, 1.0, 0.0])
  transformation = make(name, rate=lambda count: rates[count])
  update = jax.jit(transformation.update)
  parameters = make_parameters()
  state = transformation.init(parameters)
  moved = []
  for seed in range(3):
    updates, state = update(make_parameters(seed), state, parameters)
    moved.append(any((u != 0).any() for u in jax.tree.leaves(updates)))
  assert moved == [False, True, False]


@every_optimizer
def test_the_state_looks_the_same_whatever_is_switched_off(name):
  kind = TABLE[name]['kind']
  with_all = f'{kind}, correction True, clip 1.0'
  describe = lambda state: jax.tree.map(lambda x: (x.shape, x.dtype), state)  # noqa: E731
  first = make(name).init(make_parameters())
  second = make(with_all).init(make_parameters())
  leaves = [flatten(tree) for tree in (first, second)]
  assert describe(leaves[0]) == describe(leaves[1])


@every_optimizer
def test_boxes_with_logical_axes_are_looked_through(name):
  boxed = jax.tree.map(
    lambda x: nn.LogicallyPartitioned(x, ('width',) * x.ndim),
    make_parameters(),
  )
  plain = nn.meta.unbox(make(name).init(boxed))
  assert jax.tree.structure(plain) == jax.tree.structure(
    make(name).init(make_parameters())
  )


def test_two_equal_gradients_of_any_size_are_one_clipped_step():
  name = 'adamw, correction True, clip 1.0'
  parameters, gradient = make_parameters(), make_parameters(1)
  larger = jax.tree.map(lambda g: 1000 * g, gradient)
  first = run(name, parameters, [gradient])
  second = run(name, parameters, [larger])
  for one, other in zip(
    jax.tree.leaves(first), jax.tree.leaves(second), strict=True
  ):
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize(
  'path, decays',
  [
    ('encoder/layer_00/attention/query/kernel', True),
    ('encoder/layer_00/attention/query/bias', False),
    ('encoder/layer_00/attention/norm/scale', False),
    ('encoder/layer_00/attention/norm/bias', False),
    ('embeddings/norm/scale', False),
    ('LayerNorm_0/scale', False),
    ('embeddings/tokens/embedding', True),
    ('embeddings/positions/embedding', True),
    ('masked_language_model/decoder_bias', False),
    ('normalizer/kernel', True),
  ],
)
def test_norms_and_biases_do_not_decay(path, decays):
  tree = np.zeros(2)
  for name in reversed(path.split('/')):
    tree = {name: tree}
  assert jax.tree.leaves(optimizer.decay_mask(tree)) == [decays]
