"""The inner product of attention, behind one signature: a table by name.

    context_BLHK = kernels.KERNELS['einsum'](
        query_BLHK, key_BMHK, value_BMHK, mask, dropout)

Each takes query_BLHK, key_BMHK, value_BMHK: float[B, L or M, H, K]; `mask`:
bool[B, 1 or H, L, M], whether a query may attend to a key, or a `SegmentMask`;
`dropout`: applied to the weights, float[B, H, L, M], or None. It returns
float[B, L, H, K] of the query's dtype; what padding attends to is nobody's
business. Source: Vaswani et al. 2017, section 3.2.1.
"""

import flax
import jax
import jax.numpy as jnp

from bertjax import partitioning
from bertjax.errors import UserError

# A finite stand-in for minus infinity: its softmax weight is exactly 0 beside
# any real score, and a row with no valid key gives uniform weights, not NaN.
MASKED_SCORE = -1e30
FLASH_BLOCK = 128  # positions that the TPU's kernel takes together


@flax.struct.dataclass
class SegmentMask:
  """Lets a position attend to its own sequence and to nothing else.

  Attributes:
    segments_BL: int32[B, L], which packed sequence a position belongs to; 0 is
      padding, which neither attends nor is attended to.
  """

  segments_BL: jax.Array

  def dense(self) -> jax.Array:
    """Returns bool[B, 1, L, M] with M = L."""
    query_B1L1 = self.segments_BL[:, None, :, None]
    key_B11M = self.segments_BL[:, None, None, :]
    return (query_B1L1 == key_B11M) & (key_B11M != 0)


def _dense(mask) -> jax.Array:
  return mask.dense() if isinstance(mask, SegmentMask) else mask


def einsum(query_BLHK, key_BMHK, value_BMHK, mask, dropout=None) -> jax.Array:
  """Attention with its L x M weights in memory; the reference for the others.

  Scores and softmax are float32.
  """
  dtype = query_BLHK.dtype
  query_BLHK = query_BLHK * (query_BLHK.shape[-1] ** -0.5)
  scores_BHLM = jnp.einsum('BLHK,BMHK->BHLM', query_BLHK, key_BMHK,
                           preferred_element_type=jnp.float32)
  scores_BHLM = jnp.where(_dense(mask), scores_BHLM, MASKED_SCORE)
  weights_BHLM = jax.nn.softmax(scores_BHLM).astype(dtype)
  if dropout is not None:
    weights_BHLM = dropout(weights_BHLM)
  return jnp.einsum('BHLM,BMHK->BLHK', weights_BHLM, value_BMHK)


def dot_product(
    query_BLHK, key_BMHK, value_BMHK, mask, dropout=None
) -> jax.Array:
  """`jax.nn.dot_product_attention`: on a GPU cuDNN's, without L x M weights.

  Raises:
    UserError: `dropout` is not None.
  """
  _check_no_dropout('dot_product', dropout)
  # cuDNN's takes half precision only.
  fused = (partitioning.platform() == 'gpu'
           and query_BLHK.dtype != jnp.float32)
  return jax.nn.dot_product_attention(
      query_BLHK, key_BMHK, value_BMHK, mask=_dense(mask),
      implementation='cudnn' if fused else 'xla')


def flash(query_BLHK, key_BMHK, value_BMHK, mask, dropout=None) -> jax.Array:
  """jax's Pallas kernel for TPUs, without L x M weights in memory.

  Raises:
    UserError: `dropout` is not None; a mask of another kind than `SegmentMask`;
      a length that is not a multiple of `FLASH_BLOCK`.

  Source: Dao et al. 2022 (arXiv:2205.14135); `jax.experimental.pallas`.
  """
  # Not above: nothing else needs Pallas.
  from jax.experimental.pallas.ops.tpu import flash_attention

  _check_no_dropout('flash', dropout)
  if not isinstance(mask, SegmentMask):
    raise UserError("expected a mask by segments for attention_kernel 'flash', "
                    "got an array; set EncoderConfig.attention_kernel = "
                    "'einsum'")
  length = query_BLHK.shape[1]
  if length % FLASH_BLOCK:
    raise UserError(f"attention_kernel 'flash' takes lengths that are a "
                    f'multiple of {FLASH_BLOCK}, got {length}; set LENGTH, or '
                    "EncoderConfig.attention_kernel = 'einsum'")
  scale = query_BLHK.shape[-1] ** -0.5

  def attend(query_BLHK, key_BMHK, value_BMHK, segments_BL):
    heads_first = (x.swapaxes(1, 2) for x in (query_BLHK, key_BMHK, value_BMHK))
    return flash_attention.flash_attention(
        *heads_first,
        segment_ids=flash_attention.SegmentIds(segments_BL, segments_BL),
        sm_scale=scale).swapaxes(1, 2)

  return partitioning.on_each_device(
      attend, (('batch', 'length', 'heads', 'head_width'),) * 3
      + (('batch', 'length'),), ('batch', 'length', 'heads', 'head_width'))(
          query_BLHK, key_BMHK, value_BMHK, mask.segments_BL)


def automatic(
    query_BLHK, key_BMHK, value_BMHK, mask, dropout=None
) -> jax.Array:
  """What suits the platform: the TPU's or the GPU's kernel, else `einsum`.

  From length 512 on; below, and with dropout of weights, `einsum`.
  """
  length = query_BLHK.shape[1]
  kernel = einsum
  if dropout is None and length >= 512:
    platform = partitioning.platform()
    if platform == 'gpu':
      kernel = dot_product
    elif (platform == 'tpu' and isinstance(mask, SegmentMask)
          and not length % FLASH_BLOCK):
      kernel = flash
  return kernel(query_BLHK, key_BMHK, value_BMHK, mask, dropout)


def _check_no_dropout(name: str, dropout) -> None:
  if dropout is not None:
    raise UserError(
        f'attention_kernel {name!r} cannot drop attention weights out; set '
        "EncoderConfig.attention_dropout = 0.0, or attention_kernel = 'einsum'")


KERNELS = {
    'auto': automatic,
    'einsum': einsum,
    'dot_product': dot_product,
    'flash': flash,
}
