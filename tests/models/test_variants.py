"""What holds for every encoder that the model's tables can name."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from bertjax.errors import UserError
from bertjax.interop import config_json, names
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import fields_affecting
from bertjax.parallel import partitioning, rules
from tests.models import variants

BATCH = variants.make_batch()


@pytest.fixture(scope='module', params=variants.VARIANTS)
def name(request):
  """Of each variant; those of one stand together, so one process has them."""
  return request.param


def make(config):
  return BertForPreTraining(config, next_sentence=False)


@functools.cache
def boxed(config):
  return jax.eval_shape(
    lambda: make(config).init(jax.random.key(0), BATCH, train=False)
  )['params']


@functools.cache
def parameters(config):
  """Of the size that makes each count; equal names have equal numbers."""
  flat = traverse_util.flatten_dict(nn.unbox(boxed(config)), sep='/')
  drawn = {}
  for path, array in flat.items():
    seed = [ord(letter) for letter in path]
    values = np.random.RandomState(seed).normal(size=array.shape) * 0.3
    drawn[path] = (values + path.endswith('scale')).astype(np.float32)
  return traverse_util.unflatten_dict(drawn, sep='/')


def loss(config, params, batch):
  """Of hidden states and logits of what is real, with what it is of."""
  outputs = make(config).apply({'params': params}, batch, train=False)
  real_BL1 = (batch['segments'] > 0)[..., None]
  found = jnp.sum(jnp.sin(outputs['hidden']) * real_BL1)
  scores = jax.nn.log_softmax(outputs['mlm_logits'])[..., 7]
  return found - jnp.sum(scores * batch['weights']), outputs


@functools.cache
def computed(config):
  """The loss with its outputs, and the gradient."""
  function = jax.value_and_grad(loss, argnums=1, has_aux=True)
  return jax.jit(function, static_argnums=0)(config, parameters(config), BATCH)


def assert_equal(found, expected, tolerance=2e-4):
  def check(a, b):
    scale = max(1.0, np.abs(b).max())
    np.testing.assert_allclose(a, b, atol=tolerance * scale, rtol=0)

  jax.tree.map(check, found, expected)


def test_a_packed_row_equals_its_sequences_apart(name):
  (_, outputs), _ = computed(variants.configuration(name))
  hidden = outputs['hidden']
  assert_equal(hidden[0, :8], hidden[1, :8], 2e-5)
  assert_equal(hidden[0, 8:], hidden[2, :8], 2e-5)


def test_padding_does_not_change_real_tokens(name):
  (_, outputs), _ = computed(variants.configuration(name))
  hidden, logits = outputs['hidden'], outputs['mlm_logits']
  np.testing.assert_array_equal(hidden[3, :8], hidden[1, :8])
  np.testing.assert_array_equal(logits[3, :2], logits[1, :2])


def test_every_gradient_is_finite_and_not_zero(name):
  _, gradient = computed(variants.configuration(name))
  flat = traverse_util.flatten_dict(gradient, sep='/')
  for path, array in flat.items():
    assert np.isfinite(array).all(), path
    # The same for all keys, so softmax does not see it.
    if not path.endswith(('key/bias', 'key_norm/bias')):
      assert np.abs(array).max() > 1e-4, path


def test_it_computes_something_else_than_without_it(name):
  config, plain = variants.configuration(name), variants.plain(name)
  own, other = (
    set(traverse_util.flatten_dict(parameters(x), sep='/'))
    for x in (config, plain)
  )
  if name == 'bert':
    assert config == plain
    return
  # What has parameters of its own uses them, as their gradients say.
  if not own - other:
    (_, found), _ = computed(config)
    (_, without), _ = computed(plain)
    difference = max(
      np.abs(found[key] - without[key]).max()
      for key in ('hidden', 'mlm_logits')
    )
    assert difference > 5e-4


def test_every_parameter_has_a_partition_rule(name):
  config = variants.configuration(name)
  leaves = jax.tree.leaves(
    boxed(config), is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned)
  )
  assert all(isinstance(leaf, nn.LogicallyPartitioned) for leaf in leaves)
  mesh = partitioning.make_mesh(data=2, fsdp=2, tensor=2)
  shardings = rules.shardings_of(boxed(config), mesh)
  matrices = [
    sharding.spec
    for sharding, leaf in zip(jax.tree.leaves(shardings), leaves, strict=True)
    if leaf.value.ndim > 1
  ]
  assert all(any(spec) for spec in matrices)


# Those that transformers has as BERT, RoBERTa or ModernBERT.
ELSEWHERE = (
  'bert gelu_tanh relu one_type decoder_of_its_own roberta modernbert'
).split()


def test_it_goes_to_transformers_and_back_if_it_has_a_counterpart(name):
  config = variants.configuration(name)
  ours = dict(parameters(config))
  if name not in ELSEWHERE:
    with pytest.raises(UserError, match='transformers has no'):
      config_json.from_encoder(config)
    return
  attributes = config_json.from_encoder(config)
  again = config_json.to_encoder(attributes, 'config.json')
  again = dataclasses.replace(again, tied_decoder=config.tied_decoder)
  for field in fields_affecting('shapes', 'computation'):
    assert getattr(again, field) == getattr(config, field), field
  skipped = attributes['max_position_embeddings'] - config.positions
  tensors = names.to_huggingface(ours, config, skipped)
  heads = names.heads_of(ours)
  found = names.from_huggingface(tensors, again, heads, skipped=skipped)
  jax.tree.map(np.testing.assert_array_equal, found, ours)


# These compile several programs for each, so most of them are slow.
some_variants = pytest.mark.parametrize(
  'name',
  [
    name if name == 'modernbert' else pytest.param(name, marks=pytest.mark.slow)
    for name in variants.VARIANTS
  ],
)


@some_variants
@pytest.mark.parametrize(
  'scan_layers, recompute',
  [(True, 'nothing'), (False, 'everything'), (True, 'products')],
)
def test_scan_equals_loop_equals_recomputation(name, scan_layers, recompute):
  config = variants.configuration(name)
  other = dataclasses.replace(
    config, scan_layers=scan_layers, recompute=recompute
  )
  assert jax.tree.structure(boxed(other)) == jax.tree.structure(boxed(config))
  assert_equal(computed(other), computed(config))


@some_variants
def test_eight_devices_compute_what_one_does(name):
  config = variants.configuration(name)
  mesh = partitioning.make_mesh(data=2, fsdp=2, tensor=2)
  placed = jax.device_put(
    parameters(config), rules.shardings_of(boxed(config), mesh)
  )
  with rules.placing(mesh):
    function = jax.value_and_grad(loss, argnums=1, has_aux=True)
    found = jax.jit(function, static_argnums=0)(
      config, placed, partitioning.put_batch(BATCH, mesh)
    )
  kernels = jax.tree.leaves(placed)
  assert any(len(x.sharding.device_set) == 8 for x in kernels)
  assert_equal(found, computed(config))
