"""The reference kernel against loops in numpy, and the others against it."""

import contextlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.models import attention_mask, kernels, layer_patterns, positions
from bertjax.models.attention_mask import AttentionMask, Rule
from bertjax.models.config import EncoderConfig
from bertjax.models.kernels import KERNELS
from bertjax.models.layer_patterns import LayerSpec
from bertjax.models.positions import Scheme
from bertjax.parallel import partitioning, rules


def _splash(make):
  """Returns (length) -> what `make` makes of the module of splash's masks."""

  def of_length(length):
    from jax.experimental.pallas.ops.tpu.splash_attention import (
      splash_attention_mask as masks,
    )

    return make(masks, (length, length))

  return of_length


ROWS = {
  'causal': Rule(
    lambda query, key: key <= query,
    _splash(lambda masks, shape: masks.CausalMask(shape)),
  ),
  'window_2': Rule(
    lambda query, key: abs(query - key) <= 2,
    _splash(lambda masks, shape: masks.LocalMask(shape, (2, 2), 0)),
  ),
  'even': Rule(lambda query, key: (query - key) % 2 == 0),  # not of splash
}


@pytest.fixture(autouse=True)
def rules_of_attention(monkeypatch):
  for name, row in ROWS.items():
    monkeypatch.setitem(attention_mask.RULES, name, row)


@pytest.mark.parametrize('rule', ['all', *ROWS])
@pytest.mark.parametrize('biased', [False, True])
@pytest.mark.parametrize('name', ['auto', 'einsum', 'dot_product'])
def test_kernel_equals_attention_written_as_loops(name, biased, rule):
  random = np.random.RandomState(0)
  query, key, value = random.randn(3, 2, 9, 3, 4).astype(np.float32)
  bias = random.randn(2, 3, 9, 9).astype(np.float32) if biased else None
  segments = np.array([[1, 2, 1, 1, 2, 1, 1, 1, 2], [1] * 9])
  place = np.array([[0, 0, 1, 2, 1, 3, 4, 5, 2], range(9)])
  expected = np.zeros_like(query)
  for row, position, head in np.ndindex(2, 9, 3):
    allowed = segments[row] == segments[row, position]
    if rule != 'all':
      allowed &= ROWS[rule].allows(place[row, position], place[row])
    attended = np.flatnonzero(allowed)
    scores = key[row, attended, head] @ query[row, position, head] / 4**0.5
    if biased:
      scores += bias[row, head, position, attended]
    weights = np.exp(scores - scores.max())
    expected[row, position, head] = (
      weights / weights.sum() @ value[row, attended, head]
    )
  mask = AttentionMask(segments, place, rule)
  got = KERNELS[name](query, key, value, mask, bias_BHLM=bias)
  np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize('name', ['auto', 'einsum'])
def test_kernel_drops_weights_out_after_the_softmax(name):
  query, key = np.zeros((2, 1, 4, 1, 2), np.float32)
  value = np.ones((1, 4, 1, 2), np.float32)
  mask = AttentionMask(np.ones((1, 4), int), np.arange(4)[None])
  got = KERNELS[name](
    query, key, value, mask, lambda weights: weights.at[..., 0].set(0)
  )
  np.testing.assert_allclose(got, 0.75, atol=1e-6)


def test_scores_and_softmax_are_float32_and_what_bfloat16_would_cost():
  """Scores of 100.25 and 100: e ** 0.25 to 1 in float32. In bfloat16, whose
  numbers lie 0.5 apart there, they would be equal: a weight 11% too small."""
  bfloat16 = jnp.bfloat16
  query = jnp.array([2, 2, 0, 0], bfloat16).reshape(1, 1, 1, 4)
  key = jnp.array([[100, 0.25, 0, 0], [100, 0, 0, 0]], bfloat16)
  value = jnp.array([[1, 0, 0, 0], [0, 1, 0, 0]], bfloat16)
  got = KERNELS['einsum'](
    jnp.concatenate([query, query], axis=1),
    key.reshape(1, 2, 1, 4),
    value.reshape(1, 2, 1, 4),
    AttentionMask(np.ones((1, 2), int), np.arange(2)[None]),
  )
  right = np.exp(0.25) / (1 + np.exp(0.25))
  np.testing.assert_allclose(float(got[0, 0, 0, 0]), right, rtol=2**-8)
  wrong = jax.nn.softmax(jnp.array([100.25, 100], bfloat16))
  assert float(wrong[0]) == 0.5 and right > 1.12 * 0.5


def make_packed(length=256, heads=4, width=64, rule='all'):
  """Two rows of three sequences and padding."""
  random = np.random.RandomState(0)
  arrays = random.randn(3, 4, length, heads, width).astype(np.float32)
  ends = np.array([[60, 130, 200], [100, 101, 256]] * 2)
  column = np.arange(length)
  begun = column >= ends[:, :, None]
  mask = AttentionMask(
    jnp.asarray((~begun).sum(1), jnp.int32),
    jnp.asarray(column - (begun * ends[:, :, None]).max(1), jnp.int32),
    rule,
  )
  return *arrays, mask


@pytest.mark.parametrize(
  'sizes, rule',
  [(None, 'all'), ((2, 1, 2), 'all'), (None, 'window_2'), (None, 'causal')],
)
def test_splash_equals_einsum_in_values_and_gradients(sizes, rule):
  *arrays, mask = make_packed(rule=rule, heads=4 if sizes else 1)
  real = (np.asarray(mask.segments_BL) > 0)[..., None, None]

  def loss(arrays, kernel):
    context = kernel(*arrays, mask) * real
    return (jnp.sin(context)).sum(), context

  def find(kernel):
    function = jax.value_and_grad(
      lambda arrays: loss(arrays, kernel), has_aux=True
    )
    (_, context), gradients = jax.jit(function)(tuple(arrays))
    return context, *gradients

  expected = find(KERNELS['einsum'])
  mesh = partitioning.make_mesh(
    *(sizes or (1, 1, 1)), devices=jax.devices()[: int(np.prod(sizes or 1))]
  )
  with rules.placing(mesh) if sizes else contextlib.nullcontext():
    found = find(KERNELS['splash'])
  for ours, theirs in zip(found, expected, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_several_tpus_without_a_mesh_take_what_xla_can_divide(monkeypatch):
  """As of parameters on a mesh and a few rows of held-out text."""
  monkeypatch.setattr(rules, 'platform', lambda: 'tpu')
  mesh = partitioning.make_mesh()
  everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  *arrays, mask = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere),
    make_packed(512),
  )
  lowered = (
    jax.jit(lambda *x: KERNELS['auto'](*x))
    .trace(*arrays, mask)
    .lower(lowering_platforms=('tpu',))
  )
  assert 'tpu_custom_call' not in lowered.as_text()


@pytest.mark.parametrize(
  'said, capability',
  [('7.5', 7.5), ('12.0', 12.0), ('gfx90a', 0.0), (None, 0.0)],
)
def test_the_compute_capability_is_that_of_an_nvidia_gpu(
  monkeypatch, said, capability
):
  device = types.SimpleNamespace(
    **{} if said is None else {'compute_capability': said}
  )
  monkeypatch.setattr(kernels.jax, 'devices', lambda: [device])
  assert kernels._compute_capability() == capability


@pytest.mark.parametrize(
  'change, fused',
  [
    ({}, True),
    ({'length': 256}, False),
    ({'length': 513}, False),
    ({'width': 20}, False),
    ({'capability': 7.5}, False),
    ({'dtype': jnp.float32}, False),
  ],
)
@pytest.mark.parametrize('biased', [False, True])
def test_from_512_a_gpu_gets_the_kernel_of_cudnn(
  monkeypatch, change, fused, biased
):
  """Where there is one; its program is made here and run nowhere."""
  from jax._src.cudnn import fused_attention_stablehlo as cudnn

  monkeypatch.setattr(rules, 'platform', lambda: 'gpu')
  monkeypatch.setattr(
    kernels, '_compute_capability', lambda: change.get('capability', 8.0)
  )
  monkeypatch.setattr(cudnn, 'check_cudnn_version', lambda: 91000)
  *arrays, mask = make_packed(
    change.get('length', 512), width=change.get('width', 64)
  )
  arrays = [jnp.asarray(x, change.get('dtype', jnp.bfloat16)) for x in arrays]
  length = arrays[0].shape[1]
  bias = np.zeros((1, 4, length, length), np.float32) if biased else None
  gradient = jax.grad(
    lambda *x: KERNELS['auto'](*x, bias_BHLM=bias).astype(jnp.float32).sum(),
    (0, 1, 2),
  )
  program = (
    jax.jit(gradient)
    .trace(*arrays, mask)
    .lower(lowering_platforms=('cuda',))
    .as_text()
  )
  for name in ('cudnn$fmhaScaleBiasSoftmax', 'cudnn$fmhaScaleBiasSoftmaxBack'):
    assert (name in program) is fused


def test_splash_is_refused_on_a_gpu(monkeypatch):
  monkeypatch.setattr(rules, 'platform', lambda: 'gpu')
  with pytest.raises(UserError, match="for TPUs; set .*'auto'"):
    KERNELS['splash'](*make_packed())


@pytest.mark.parametrize(
  'name, change, message',
  [
    ('splash', {'dropout': lambda x: x}, 'attention_dropout = 0.0'),
    ('dot_product', {'dropout': lambda x: x}, 'attention_dropout = 0.0'),
    ('splash', {'rule': 'even'}, "the rule 'even'; set .*'auto'"),
    ('splash', {'bias_BHLM': np.zeros((1, 4, 256, 256))}, "bias.*'auto'"),
    ('splash', {'length': 96}, 'multiple of 128, got 96'),
  ],
)
def test_what_a_kernel_cannot_do_is_refused(name, change, message):
  packed = {k: change[k] for k in ('length', 'rule') if k in change}
  rest = {k: change[k] for k in change if k not in packed}
  with pytest.raises(UserError, match=message):
    KERNELS[name](*make_packed(**packed), **rest)


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'attention_rule': 'even'}, "the rule 'even'; set .*'auto'"),
    ({'layer_pattern': 'even_at_last'}, "the rule 'even'; set .*'auto'"),
    ({'position_scheme': 'biased'}, "position_scheme 'biased'; set .*'auto'"),
    ({'attention_rule': 'cuasal'}, "did you mean 'causal'"),
    ({'dropout': 0.1}, 'attention_dropout = 0.0'),
    ({'attention_rule': 'causal'}, None),
    ({'attention_rule': 'even', 'attention_kernel': 'auto'}, None),
    ({'position_scheme': 'biased', 'attention_kernel': 'einsum'}, None),
  ],
)
def test_what_a_kernel_cannot_do_is_refused_before_anything_is_built(
  monkeypatch, fields, message
):
  monkeypatch.setitem(
    layer_patterns.PATTERNS,
    'even_at_last',
    lambda config, index: LayerSpec('even' if index == 1 else 'all'),
  )
  scheme = Scheme(bias=lambda config, spec, positions_BL: None)
  monkeypatch.setitem(positions.SCHEMES, 'biased', scheme)
  config = EncoderConfig(
    **{
      'vocabulary_size': 60,
      'width': 32,
      'layers': 2,
      'heads': 4,
      'feed_forward': 64,
      'dropout': 0.0,
      'attention_kernel': 'splash',
      **fields,
    }
  )
  if message is None:
    kernels.check(config)
    return
  with pytest.raises(UserError, match=message):
    kernels.check(config)


@pytest.mark.parametrize(
  'rule, biased, fused',
  [('causal', False, True), ('even', False, False), ('all', True, False)],
)
def test_a_tpu_gets_splash_where_it_has_the_rule_and_no_bias(
  monkeypatch, rule, biased, fused
):
  """Its program is made here and run nowhere."""
  monkeypatch.setattr(rules, 'platform', lambda: 'tpu')
  monkeypatch.setattr(rules, 'one_device_each', lambda: True)
  *arrays, mask = make_packed(512, heads=1, rule=rule)
  bias_BHLM = np.zeros((1, 1, 512, 512), np.float32) if biased else None
  lowered = (
    jax.jit(lambda *x: KERNELS['auto'](*x, bias_BHLM=bias_BHLM))
    .trace(*arrays, mask)
    .lower(lowering_platforms=('tpu',))
  )
  assert ('tpu_custom_call' in lowered.as_text()) is fused
