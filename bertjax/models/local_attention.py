"""Attention within a window on a TPU: a kernel that holds a row on the chip.

    context_BHKL = local_attention.attend(
        query_BHKL, key_BHKL, value_BHKL, segments_BL, reach=64)

Each head's row is read once, queries in blocks of 128 meet the keys from
`reach` columns before to `reach` behind, and the row is written once, forward
and backward. jax's splash attention reads and multiplies whole blocks of 128
keys, for which a window of 128 costs up to four times its products, and has its
backward pass in two kernels, or a gradient of the query for each block of keys
(experiments/LOG.md). Source: Dao et al. 2022 (arXiv:2205.14135), algorithms 1
and 4, of which a window needs no loop over keys.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas
from jax.experimental.pallas import tpu as pallas_tpu

# Queries that are worked on together; and the columns of a TPU's registers.
BLOCK = 128
# The backward pass needs all of a row in the chip's VMEM: 16 MiB for 4,096
# positions and heads of 64, about 30 for 8,192 (what libtpu 0.0.42.1 says).
_LONGEST = 8192
_LONGEST_BY_KIND = {'TPU v4': 4096}  # 16 MiB; the later ones have 64 or more
_MIB = 2**20
_MASKED = -1e30


def fits(length: int, width: int, reach: int, device_kind: str) -> bool:
  """Whether the kernel takes such rows.

  Args:
    length: L.
    width: K of a head.
    reach: the farthest distance.
    device_kind: jax's name of the device.
  """
  longest = _LONGEST_BY_KIND.get(device_kind, _LONGEST)
  # Longer spans would hold too many scores.
  near = _span(reach) <= min(length, 8 * BLOCK)
  whole = length % BLOCK == 0 and width % 16 == 0
  return whole and near and length <= longest and width <= BLOCK


def _halo(reach: int) -> int:
  return -(-reach // (BLOCK // 2)) * (BLOCK // 2)


def _span(reach: int) -> int:
  """Returns how many keys a block of queries meets."""
  return BLOCK + 2 * _halo(reach)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def attend(
  query_BHKL: jax.Array,
  key_BHKL: jax.Array,
  value_BHKL: jax.Array,
  segments_BL: jax.Array,
  reach: int,
  interpret: bool = False,
) -> jax.Array:
  """Attends within segments to columns at most `reach` away.

  Args:
    query_BHKL: float[B, H, K, L], scaled; keys and values alike.
    key_BHKL: see above.
    value_BHKL: see above.
    segments_BL: int32[B, L], not negative; padding attends to padding.
    reach: the farthest distance.
    interpret: whether to run on a CPU, slowly.

  Returns:
    float[B, H, K, L] of the query's dtype.
  """
  arrays = query_BHKL, key_BHKL, value_BHKL
  return _forward(*arrays, segments_BL, reach, interpret)[0]


def _forward(query, key, value, segments_BL, reach, interpret):
  sums = jax.ShapeDtypeStruct(
    (*query.shape[:2], 1, query.shape[3]), jnp.float32
  )
  context, sums = _call(
    functools.partial(_forward_kernel, reach),
    'local_attention_forward',
    2,
    (query, key, value),
    (),
    segments_BL,
    (query, sums),
    reach,
    interpret,
  )
  return context, (query, key, value, segments_BL, context, sums)


def _backward(reach, interpret, saved, gradient):
  query, key, value, segments_BL, context, sums = saved
  gradients = _call(
    functools.partial(_backward_kernel, reach),
    'local_attention_backward',
    5,
    (query, key, value, context, gradient),
    (sums,),
    segments_BL,
    (query, key, value),
    reach,
    interpret,
  )
  return *gradients, None


attend.defvjp(_forward, _backward)


def _call(
  kernel, name, products, arrays, sums, segments_BL, outputs, reach, interpret
):
  """Runs a kernel for each head of each row.

  Args:
    kernel: a function of references.
    name: of the kernel, in profiles.
    products: how many of L x M x K it has.
    arrays: float[B, H, K, L].
    sums: float32[B, H, 1, L].
    segments_BL: int32[B, L].
    outputs: arrays of the shapes and dtypes of the results.
    reach: the farthest distance.
    interpret: whether to run on a CPU.
  """
  batch, heads, width, length = arrays[0].shape
  halo, dtype = _halo(reach), arrays[0].dtype
  wide = length + 2 * halo

  def spec(shape):
    return pallas.BlockSpec((None, None, *shape[2:]), lambda b, h: (b, h, 0, 0))

  # As a row for queries, and as a column for keys; no segment is -1.
  row = segments_BL[:, None]
  column = jnp.pad(segments_BL, [(0, 0), (halo, halo)], constant_values=-1)
  column = jnp.broadcast_to(column[:, :, None], (batch, wide, BLOCK))
  given = (*arrays, *sums)
  scratch = [
    pallas_tpu.VMEM((wide, width), dtype),  # keys, positions first
    pallas_tpu.VMEM((wide, width), dtype),  # values, likewise
    pallas_tpu.VMEM((width, wide), dtype),  # what is multiplied as it stands
  ]
  if products > 2:
    scratch += [pallas_tpu.VMEM((width, wide), jnp.float32)] * 2
  pairs = batch * heads * length * _span(reach)
  moved = sum(
    math.prod(x.shape) * x.dtype.itemsize for x in (*given, *outputs, column)
  )
  return pallas.pallas_call(
    kernel,
    name=name,
    grid=(batch, heads),
    in_specs=[
      pallas.BlockSpec((None, 1, length), lambda b, h: (b, 0, 0)),
      pallas.BlockSpec((None, wide, BLOCK), lambda b, h: (b, 0, 0)),
      *(spec(x.shape) for x in given),
    ],
    out_specs=[spec(x.shape) for x in outputs],
    out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outputs],
    scratch_shapes=scratch,
    interpret=interpret,
    compiler_params=pallas_tpu.CompilerParams(
      dimension_semantics=('parallel', 'arbitrary'),
      vmem_limit_bytes=(16 if length <= 4096 else 32) * _MIB,
    ),
    cost_estimate=pallas.CostEstimate(
      flops=2 * products * pairs * width,
      transcendentals=pairs,
      bytes_accessed=moved,
    ),
  )(row, column, *given)


def _with_halo(reach, array, scratch, axis):
  """Copies a row into a scratch, between two halos of zeros."""
  halo = _halo(reach)
  scratch[...] = jnp.zeros_like(scratch)
  inside = pallas.ds(halo, array.shape[axis])
  scratch[(inside, slice(None)) if axis == 0 else (slice(None), inside)] = array


def _scores(reach, block, row, column, query, keys):
  """Returns the masked scores of a block, float32[M, Q], keys first."""
  halo, span = _halo(reach), _span(reach)
  scores = _product(keys, query, 1, 0)
  offset = lax.broadcasted_iota(jnp.int32, scores.shape, 0) - halo
  distance = offset - lax.broadcasted_iota(jnp.int32, scores.shape, 1)
  near = (distance <= reach) & (distance >= -reach)
  begin = pallas.multiple_of(block * BLOCK, BLOCK)
  own = row[:, pallas.ds(begin, BLOCK)]
  same = column[pallas.ds(begin, span)] == own
  return jnp.where(near & same, scores, _MASKED)


def _product(left, right, left_axis, right_axis):
  """Contracts an axis of each; float32."""
  axes = (((left_axis,), (right_axis,)), ((), ()))
  return lax.dot_general(left, right, axes, preferred_element_type=jnp.float32)


def _forward_kernel(
  reach, row, column, query, key, value, context, sums, keys, _, values
):
  _with_halo(reach, key[...].T, keys, 0)
  _with_halo(reach, value[...], values, 1)
  span = _span(reach)

  def step(block, carry):
    begin = pallas.multiple_of(block * BLOCK, BLOCK)
    here, near = pallas.ds(begin, BLOCK), pallas.ds(begin, span)
    scores = _scores(reach, block, row, column, query[:, here], keys[near, :])
    highest = scores.max(0, keepdims=True)
    weights = jnp.exp(scores - highest)
    total = weights.sum(0, keepdims=True)
    found = _product(values[:, near], weights.astype(value.dtype), 1, 0)
    context[:, here] = (found / total).astype(context.dtype)
    sums[:, here] = highest + jnp.log(total)
    return carry

  lax.fori_loop(0, query.shape[1] // BLOCK, step, 0)


def _backward_kernel(
  reach,
  row,
  column,
  query,
  key,
  value,
  context,
  gradient,
  sums,
  of_query,
  of_key,
  of_value,
  keys,
  values,
  wide_key,
  wide_of_key,
  wide_of_value,
):
  _with_halo(reach, key[...].T, keys, 0)
  _with_halo(reach, value[...].T, values, 0)
  _with_halo(reach, key[...], wide_key, 1)
  wide_of_key[...] = jnp.zeros_like(wide_of_key)
  wide_of_value[...] = jnp.zeros_like(wide_of_value)
  span, dtype = _span(reach), query.dtype

  def step(block, carry):
    begin = pallas.multiple_of(block * BLOCK, BLOCK)
    here, near = pallas.ds(begin, BLOCK), pallas.ds(begin, span)
    queries, pulled = query[:, here], gradient[:, here]
    scores = _scores(reach, block, row, column, queries, keys[near, :])
    weights = jnp.exp(scores - sums[:, here])
    wide_of_value[:, near] += _product(pulled, weights.astype(dtype), 1, 1)
    of_weights = _product(values[near, :], pulled, 1, 0)
    both = pulled.astype(jnp.float32) * context[:, here].astype(jnp.float32)
    of_scores = weights * (of_weights - both.sum(0, keepdims=True))
    of_scores = of_scores.astype(dtype)
    wide_of_key[:, near] += _product(queries, of_scores, 1, 1)
    of_query[:, here] = _product(wide_key[:, near], of_scores, 1, 0).astype(
      dtype
    )
    return carry

  lax.fori_loop(0, query.shape[1] // BLOCK, step, 0)
  inside = pallas.ds(_halo(reach), query.shape[1])
  of_key[...] = wide_of_key[:, inside].astype(dtype)
  of_value[...] = wide_of_value[:, inside].astype(dtype)
