"""The inner product of attention, behind one signature: a table by name.

    context_BLHK = kernels.KERNELS['einsum'](
        query_BLHK, key_BMHK, value_BMHK, mask, dropout)

Each takes query_BLHK, key_BMHK, value_BMHK: float[B, L or M, H, K]; `mask`:
bool[B, 1 or H, L, M], whether a query may attend to a key, or a `SegmentMask`;
`dropout`: applied to the weights, float[B, H, L, M], or None. It returns
float[B, L, H, K] of the query's dtype; what padding attends to is nobody's
business. Source: Vaswani et al. 2017, section 3.2.1.
"""

from collections.abc import Callable
from typing import TypeAlias

import flax
import jax
import jax.numpy as jnp

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig
from bertjax.parallel import rules

# A finite stand-in for minus infinity: its softmax weight is exactly 0 beside
# any real score, and a row with no valid key gives uniform weights, not NaN.
MASKED_SCORE = -1e30
# Block lengths of the TPU's kernel: the first that divides L is used.
SPLASH_BLOCKS = (512, 384, 256, 128)


@flax.struct.dataclass
class SegmentMask:
  """Lets a position attend to its own sequence and to nothing else.

      >>> SegmentMask(jnp.array([[1, 2, 0]])).dense().astype(int).tolist()
      [[[[1, 0, 0], [0, 1, 0], [0, 0, 0]]]]

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


Mask: TypeAlias = jax.Array | SegmentMask
Dropout: TypeAlias = Callable[[jax.Array], jax.Array] | None


def _dense(mask: Mask) -> jax.Array:
  return mask.dense() if isinstance(mask, SegmentMask) else mask


def einsum(
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: Mask,
  dropout: Dropout = None,
) -> jax.Array:
  """Attention with its L x M weights in memory; the reference for the others.

  Scores and softmax are float32.
  """
  dtype = query_BLHK.dtype
  query_BLHK = query_BLHK * (query_BLHK.shape[-1] ** -0.5)
  scores_BHLM = jnp.einsum(
    'BLHK,BMHK->BHLM', query_BLHK, key_BMHK, preferred_element_type=jnp.float32
  )
  scores_BHLM = jnp.where(_dense(mask), scores_BHLM, MASKED_SCORE)
  weights_BHLM = jax.nn.softmax(scores_BHLM).astype(dtype)
  if dropout is not None:
    weights_BHLM = dropout(weights_BHLM)
  return jnp.einsum('BHLM,BMHK->BLHK', weights_BHLM, value_BMHK)


def dot_product(
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: Mask,
  dropout: Dropout = None,
) -> jax.Array:
  """`jax.nn.dot_product_attention`: on a GPU cuDNN's, without L x M weights.

  Raises:
    UserError: `dropout` is not None.
  """
  _check_no_dropout('dot_product', dropout)
  return jax.nn.dot_product_attention(
    query_BLHK,
    key_BMHK,
    value_BMHK,
    mask=_dense(mask),
    implementation='cudnn' if _cudnn_takes(query_BLHK) else 'xla',
  )


def _cudnn_takes(query_BLHK: jax.Array) -> bool:
  """Whether cuDNN has a kernel: for NVIDIA's GPUs from Ampere on (not Colab's
  T4), in half precision, for the head widths and lengths that jax supports."""
  _, length, _, width = query_BLHK.shape
  return (
    rules.platform() == 'gpu'
    and _compute_capability() >= 8
    and query_BLHK.dtype != jnp.float32
    and width % 8 == 0
    and width <= 128
    and length % 2 == 0
  )


def _compute_capability() -> float:
  """Returns an NVIDIA GPU's, such as 7.5; 0 for any other device."""
  try:
    return float(jax.devices()[0].compute_capability)
  except (AttributeError, ValueError):  # a CPU; AMD's 'gfx90a'
    return 0.0


def splash(
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: Mask,
  dropout: Dropout = None,
) -> jax.Array:
  """jax's Pallas kernel for TPUs, without L x M weights in memory.

  On a CPU it is interpreted, so slow. Padding attends to padding.

  Raises:
    UserError: on a GPU; `dropout` is not None; a mask other than a
      `SegmentMask`; a length that is not a multiple of the last of
      `SPLASH_BLOCKS`.

  Source: Dao et al. 2022 (arXiv:2205.14135);
  `jax.experimental.pallas.ops.tpu.splash_attention`.
  """
  # Imported here because nothing else needs Pallas.
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as kernel,
  )
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as masks,
  )

  _check_no_dropout('splash', dropout)
  if not isinstance(mask, SegmentMask):
    raise UserError(
      "attention_kernel 'splash' needs a SegmentMask, got an array; set "
      "EncoderConfig.attention_kernel = 'einsum'"
    )
  platform = rules.platform()
  if platform == 'gpu':
    raise UserError(
      "attention_kernel 'splash' is for TPUs; set "
      "EncoderConfig.attention_kernel = 'auto'"
    )
  length = query_BLHK.shape[1]
  if length % SPLASH_BLOCKS[-1]:
    raise UserError(
      "attention_kernel 'splash' needs a length that is a multiple of "
      f'{SPLASH_BLOCKS[-1]}, got {length}; set LENGTH, or '
      "EncoderConfig.attention_kernel = 'einsum'"
    )
  if platform == 'tpu' and not rules.one_device_each():
    # XLA cannot partition a Pallas kernel by itself. Only few rows come this
    # way: sample texts, predictions.
    return einsum(query_BLHK, key_BMHK, value_BMHK, mask)
  block = next(size for size in SPLASH_BLOCKS if not length % size)
  # Positions go last: a head's few features would be padded to 128 in memory.
  last = kernel.QKVLayout.SEQ_MINOR
  sizes = kernel.BlockSizes(
    block_q=block,
    block_kv=block,
    block_q_dkv=block,
    block_kv_dkv=block,
    use_fused_bwd_kernel=True,
    q_layout=last,
    k_layout=last,
    v_layout=last,
  )

  def attend(query_BLHK, key_BMHK, value_BMHK, segments_BL):
    heads = query_BLHK.shape[2]  # on this device
    attend_row = kernel.make_splash_mha(
      masks.MultiHeadMask([masks.FullMask((length, length))] * heads),
      head_shards=1,
      q_seq_shards=1,
      block_sizes=sizes,
      interpret=platform == 'cpu',
    )
    return jax.vmap(attend_row)(
      *(x.swapaxes(1, 2) for x in (query_BLHK, key_BMHK, value_BMHK)),
      kernel.SegmentIds(segments_BL, segments_BL),
    ).swapaxes(1, 2)

  return rules.on_each_device(
    attend,
    (('batch', 'length', 'heads', 'head_width'),) * 3 + (('batch', 'length'),),
    ('batch', 'length', 'heads', 'head_width'),
  )(
    query_BLHK * query_BLHK.shape[-1] ** -0.5,
    key_BMHK,
    value_BMHK,
    mask.segments_BL,
  )


def automatic(
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: Mask,
  dropout: Dropout = None,
) -> jax.Array:
  """Picks the TPU's or the GPU's kernel from length 512 on, else `einsum`.

  With dropout of weights it is always `einsum`.
  """
  length = query_BLHK.shape[1]
  kernel = einsum
  if dropout is None and length >= 512:
    platform = rules.platform()
    if _cudnn_takes(query_BLHK):
      kernel = dot_product
    elif (
      platform == 'tpu'
      and isinstance(mask, SegmentMask)
      and not length % SPLASH_BLOCKS[-1]
    ):
      kernel = splash
  return kernel(query_BLHK, key_BMHK, value_BMHK, mask, dropout)


def check(config: EncoderConfig) -> None:
  """Refuses, before anything is built, a kernel that cannot train.

  Raises:
    UserError: attention dropout with a kernel that cannot do it.
  """
  if config.attention_kernel in ('dot_product', 'splash'):
    _check_no_dropout(
      config.attention_kernel, config.attention_dropout_rate or None
    )


def _check_no_dropout(name: str, dropout: object) -> None:
  if dropout is not None:
    raise UserError(
      f'attention_kernel {name!r} cannot drop out attention weights; set '
      "EncoderConfig.attention_dropout = 0.0, or attention_kernel = 'einsum'"
    )


KERNELS = {
  'auto': automatic,
  'einsum': einsum,
  'dot_product': dot_product,
  'splash': splash,
}
