"""The reference kernel against loops in numpy, and the others against it."""

import contextlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.models import attention_mask, kernels, layer_patterns
from bertjax.models.attention_mask import AttentionMask, Rule
from bertjax.models.config import EncoderConfig
from bertjax.models.kernels import KERNELS
from bertjax.models.layer_patterns import LayerSpec
from bertjax.parallel import partitioning, rules


def _splash_causal(length, reach):
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as masks,
  )

  return masks.LocalMask((length, length), (reach, 0), 0)


ROWS = {
  'causal': Rule(lambda query, key: key <= query, _splash_causal),
  'even': Rule(lambda query, key: (query - key) % 2 == 0),  # not of splash
}


@pytest.fixture(autouse=True)
def rules_of_attention(monkeypatch):
  for name, row in ROWS.items():
    monkeypatch.setitem(attention_mask.RULES, name, row)


@pytest.mark.parametrize('rule', ['all', *ROWS])
@pytest.mark.parametrize('biased', [False, True])
@pytest.mark.parametrize('window', [None, 4])
@pytest.mark.parametrize('name', ['auto', 'einsum', 'blocks', 'dot_product'])
def test_kernel_equals_attention_written_as_loops(name, window, biased, rule):
  random = np.random.RandomState(0)
  query, key, value = random.randn(3, 2, 9, 3, 4).astype(np.float32)
  slopes = random.randn(3, 1, 1).astype(np.float32)

  def bias(near, far):
    distance = near[..., None, :, None] - far[..., None, None, :]
    return jnp.float32(slopes * abs(distance))

  segments = np.array([[1, 2, 1, 1, 2, 1, 1, 1, 2], [1] * 9])
  place = np.array([[0, 0, 1, 2, 1, 3, 4, 5, 2], range(9)])
  expected = np.zeros_like(query)
  for row, position, head in np.ndindex(2, 9, 3):
    allowed = segments[row] == segments[row, position]
    if rule != 'all':
      allowed &= ROWS[rule].allows(place[row, position], place[row])
    if window:
      allowed &= abs(place[row] - place[row, position]) <= window // 2
    attended = np.flatnonzero(allowed)
    scores = key[row, attended, head] @ query[row, position, head] / 4**0.5
    if biased:
      distance = abs(place[row, position] - place[row, attended])
      scores += slopes[head, 0, 0] * distance
    weights = np.exp(scores - scores.max())
    expected[row, position, head] = (
      weights / weights.sum() @ value[row, attended, head]
    )
  mask = AttentionMask(segments, place, rule, window)
  got = KERNELS[name](query, key, value, mask, bias=bias if biased else None)
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


def no_bias(near, far):
  return jnp.zeros((4, 1, 1)) * (
    near[..., None, :, None] - far[..., None, None, :]
  )


@pytest.mark.parametrize('length', [512, 500])
@pytest.mark.parametrize('window', [64, 130])
def test_blocks_equal_einsum_with_packed_rows_rule_bias_and_dropout(
  length, window
):
  *arrays, mask = make_packed(512, heads=2, rule='causal', window=window)
  arrays, mask = jax.tree.map(lambda x: x[:, :length], (arrays, mask))

  def bias(near, far):
    return -0.1 * abs(near[..., None, :, None] - far[..., None, None, :])

  found = KERNELS['blocks'](*arrays, mask, bias=bias)
  expected = KERNELS['einsum'](*arrays, mask, bias=bias)
  real = np.asarray(mask.segments_BL) > 0
  np.testing.assert_allclose(found[real], expected[real], atol=1e-5)
  dropped = KERNELS['blocks'](*arrays, mask, lambda weights: 0.5 * weights)
  found = KERNELS['blocks'](*arrays, mask)
  np.testing.assert_allclose(dropped[real], 0.5 * found[real], atol=1e-5)


def test_blocks_hold_no_pair_of_distant_positions():
  *arrays, mask = make_packed(512, heads=1, window=64)

  def largest(name):
    jaxpr = jax.make_jaxpr(KERNELS[name])(*arrays, mask)
    return max(
      variable.aval.size for eqn in jaxpr.eqns for variable in eqn.outvars
    )

  assert largest('einsum') >= 4 * 512 * 512
  assert largest('blocks') <= 4 * 512 * 3 * 64  # as keys with neighbours, too


def make_packed(length=256, heads=4, width=64, rule='all', window=None):
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
    window,
  )
  return *arrays, mask


@pytest.mark.parametrize(
  'name, sizes, rule, window, length',
  [
    ('splash', None, 'all', None, 256),
    ('splash', (2, 1, 2), 'all', None, 256),
    ('splash', None, 'all', None, 768),  # two blocks, of keys one
    ('splash', None, 'all', 4, 256),
    ('splash', None, 'all', 128, 512),
    ('splash', None, 'causal', 64, 256),
    ('local', None, 'all', 4, 256),
    ('local', (2, 1, 2), 'all', 128, 512),
    ('local', None, 'all', 200, 512),  # a reach between halos
    ('local', None, 'all', None, 256),  # splash
    ('local', None, 'causal', 64, 256),  # splash
  ],
)
def test_kernels_of_tpus_equal_einsum_in_values_and_gradients(
  name, sizes, rule, window, length
):
  heads = 4 if sizes else 1
  *arrays, mask = make_packed(length, heads, rule=rule, window=window)
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
    found = find(KERNELS[name])
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
@pytest.mark.parametrize('window', [None, 128])
def test_from_512_a_gpu_gets_the_kernel_of_cudnn(
  monkeypatch, change, fused, window, biased
):
  """Where there is one, and without a window; made here and run nowhere."""
  from jax._src.cudnn import fused_attention_stablehlo as cudnn

  monkeypatch.setattr(rules, 'platform', lambda: 'gpu')
  monkeypatch.setattr(
    kernels, '_compute_capability', lambda: change.get('capability', 8.0)
  )
  monkeypatch.setattr(cudnn, 'check_cudnn_version', lambda: 91000)
  *arrays, mask = make_packed(
    change.get('length', 512), width=change.get('width', 64), window=window
  )
  arrays = [jnp.asarray(x, change.get('dtype', jnp.bfloat16)) for x in arrays]
  bias = no_bias if biased else None
  gradient = jax.grad(
    lambda *x: KERNELS['auto'](*x, bias=bias).astype(jnp.float32).sum(),
    (0, 1, 2),
  )
  program = (
    jax.jit(gradient)
    .trace(*arrays, mask)
    .lower(lowering_platforms=('cuda',))
    .as_text()
  )
  for name in ('cudnn$fmhaScaleBiasSoftmax', 'cudnn$fmhaScaleBiasSoftmaxBack'):
    assert (name in program) is (fused and window is None)


@pytest.mark.parametrize('name', ['splash', 'local'])
def test_kernels_of_tpus_are_refused_on_a_gpu(monkeypatch, name):
  monkeypatch.setattr(rules, 'platform', lambda: 'gpu')
  with pytest.raises(UserError, match=f"'{name}' is for TPUs; set .*'auto'"):
    KERNELS[name](*make_packed())


@pytest.mark.parametrize(
  'name, change, message',
  [
    ('splash', {'dropout': lambda x: x}, 'attention_dropout = 0.0'),
    ('dot_product', {'dropout': lambda x: x}, 'attention_dropout = 0.0'),
    ('splash', {'rule': 'even'}, "the rule 'even'; set .*'auto'"),
    ('splash', {'bias': no_bias}, "bias.*'auto'"),
    ('local', {'bias': no_bias}, "'local' cannot do a bias.*'auto'"),
    ('local', {'dropout': lambda x: x}, 'attention_dropout = 0.0'),
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
    ({'position_scheme': 'alibi'}, "position_scheme 'alibi'; set .*'auto'"),
    ({'attention_rule': 'cuasal'}, "did you mean 'causal'"),
    ({'dropout': 0.1}, 'attention_dropout = 0.0'),
    ({'attention_rule': 'causal'}, None),
    ({'attention_rule': 'even', 'attention_kernel': 'auto'}, None),
    ({'position_scheme': 'alibi', 'attention_kernel': 'blocks'}, None),
    ({'local_window': 16}, None),
    ({'local_window': 16, 'attention_kernel': 'local'}, None),
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
  'rule, window, biased, kernel',
  [
    ('causal', 64, False, 'splash'),
    ('all', None, False, 'splash'),
    ('all', 64, False, 'local_attention'),
    ('even', 64, False, None),
    ('all', None, True, None),
  ],
)
def test_a_tpu_gets_a_kernel_that_has_the_rule_and_no_bias(
  monkeypatch, rule, window, biased, kernel
):
  """Its program is made here and run nowhere."""
  monkeypatch.setattr(rules, 'platform', lambda: 'tpu')
  monkeypatch.setattr(rules, 'one_device_each', lambda: True)
  *arrays, mask = make_packed(512, heads=4, rule=rule, window=window)
  bias = no_bias if biased else None
  lowered = (
    jax.jit(lambda *x: KERNELS['auto'](*x, bias=bias))
    .trace(*arrays, mask)
    .lower(lowering_platforms=('tpu',))
  )
  text = lowered.as_text()
  assert ('tpu_custom_call' in text) is (kernel is not None)
  assert kernel is None or f'kernel_name = "{kernel}' in text
