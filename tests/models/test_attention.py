"""The segment mask and the reference kernel, against loops in numpy."""

import contextlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.models import kernels
from bertjax.models.kernels import KERNELS, SegmentMask
from bertjax.parallel import partitioning, rules


def test_segment_mask_joins_equal_segments_and_leaves_padding_out():
  mask = SegmentMask(np.array([[1, 1, 2, 0]])).dense()
  np.testing.assert_array_equal(
    mask[0, 0],
    [
      [1, 1, 0, 0],
      [1, 1, 0, 0],
      [0, 0, 1, 0],
      [0, 0, 0, 0],
    ],
  )


@pytest.mark.parametrize('name', ['auto', 'einsum', 'dot_product'])
def test_kernel_equals_attention_written_as_loops(name):
  random = np.random.RandomState(0)
  query, key, value = random.randn(3, 2, 5, 3, 4).astype(np.float32)
  mask = random.rand(2, 1, 5, 5) < 0.6
  mask |= np.eye(5, dtype=bool)
  expected = np.zeros_like(query)
  for row, position, head in np.ndindex(2, 5, 3):
    attended = np.flatnonzero(mask[row, 0, position])
    scores = key[row, attended, head] @ query[row, position, head] / 4**0.5
    weights = np.exp(scores - scores.max())
    expected[row, position, head] = (
      weights / weights.sum() @ value[row, attended, head]
    )
  got = KERNELS[name](query, key, value, mask)
  np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize('name', ['auto', 'einsum'])
def test_kernel_drops_weights_out_after_the_softmax(name):
  query, key = np.zeros((2, 1, 4, 1, 2), np.float32)
  value = np.ones((1, 4, 1, 2), np.float32)
  mask = np.ones((1, 1, 4, 4), bool)
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
    query,
    key.reshape(1, 2, 1, 4),
    value.reshape(1, 2, 1, 4),
    np.ones((1, 1, 1, 2)) > 0,
  )
  right = np.exp(0.25) / (1 + np.exp(0.25))
  np.testing.assert_allclose(float(got[0, 0, 0, 0]), right, rtol=2**-8)
  wrong = jax.nn.softmax(jnp.array([100.25, 100], bfloat16))
  assert float(wrong[0]) == 0.5 and right > 1.12 * 0.5


def make_packed(length=256, heads=4, width=64):
  """Two rows of three sequences and padding."""
  random = np.random.RandomState(0)
  arrays = random.randn(3, 4, length, heads, width).astype(np.float32)
  ends = np.array([[60, 130, 200], [100, 101, 256]] * 2)
  segments = sum(np.arange(length) < ends[:, i, None] for i in range(3))
  return *arrays, SegmentMask(jnp.asarray(segments, jnp.int32))


@pytest.mark.parametrize('sizes', [None, (2, 1, 2)])
def test_splash_equals_einsum_in_values_and_gradients(sizes):
  *arrays, mask = make_packed()
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
def test_from_512_a_gpu_gets_the_kernel_of_cudnn(monkeypatch, change, fused):
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
  gradient = jax.grad(
    lambda *x: KERNELS['auto'](*x).astype(jnp.float32).sum(), (0, 1, 2)
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
    (
      'splash',
      {'mask': np.ones((4, 1, 256, 256), bool)},
      'needs a SegmentMask',
    ),
    ('splash', {'length': 96}, 'multiple of 128, got 96'),
  ],
)
def test_what_a_kernel_cannot_do_is_refused(name, change, message):
  *arrays, mask = make_packed(change.get('length', 256))
  with pytest.raises(UserError, match=message):
    KERNELS[name](*arrays, change.get('mask', mask), change.get('dropout'))
