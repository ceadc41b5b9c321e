"""The inner product of attention, behind one signature: a table by name.

    context_BLHK = kernels.KERNELS['einsum'](
        query_BLHK, key_BMHK, value_BMHK, mask, dropout, bias)

Each takes query_BLHK, key_BMHK, value_BMHK: float[B, L or M, H, K]; `mask`:
whether a query may attend to a key; `dropout`: applied to the weights,
float[B, H, L, M], or None; `bias`: (positions of the queries, int32[..., L], of
the keys, int32[..., M]) -> float32[..., H, L, M], added to the scores, or None.
It returns float[B, L, H, K] of the query's dtype; what padding
attends to is nobody's business. Source: Vaswani et al. 2017, section 3.2.1.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from bertjax.errors import UserError
from bertjax.models import attention_mask, layer_patterns
from bertjax.models.attention_mask import AttentionMask
from bertjax.models.config import EncoderConfig
from bertjax.models.positions import SCHEMES
from bertjax.parallel import rules

# A finite stand-in for minus infinity: its softmax weight is exactly 0 beside
# any real score, and a row with no valid key gives uniform weights, not NaN.
MASKED_SCORE = -1e30
# Fewer columns than this waste a processor's matrix unit.
SMALLEST_BLOCK = 16
# Block lengths of the TPU's kernel: the first that divides L is used.
SPLASH_BLOCKS = (512, 384, 256, 128)


Dropout: TypeAlias = Callable[[jax.Array], jax.Array] | None
Bias: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array] | None


def einsum(
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: AttentionMask,
  dropout: Dropout = None,
  bias: Bias = None,
) -> jax.Array:
  """Attention with its L x M weights in memory; the reference for the others.

  Scores and softmax are float32.
  """
  dtype = query_BLHK.dtype
  query_BLHK = query_BLHK * (query_BLHK.shape[-1] ** -0.5)
  scores_BHLM = jnp.einsum(
    'BLHK,BMHK->BHLM', query_BLHK, key_BMHK, preferred_element_type=jnp.float32
  )
  if bias is not None:
    scores_BHLM += bias(mask.positions_BL, mask.positions_BL)
  scores_BHLM = jnp.where(mask.dense(), scores_BHLM, MASKED_SCORE)
  weights_BHLM = jax.nn.softmax(scores_BHLM).astype(dtype)
  if dropout is not None:
    weights_BHLM = dropout(weights_BHLM)
  return jnp.einsum('BHLM,BMHK->BLHK', weights_BHLM, value_BMHK)


def blocks(
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: AttentionMask,
  dropout: Dropout = None,
  bias: Bias = None,
) -> jax.Array:
  """`einsum` for a window: a block of queries meets its neighbours alone.

  The row is cut into blocks of window / 2 or more columns; a block attends to
  itself and to those on both sides. It is `einsum` itself without a window, and
  for rows of no more than three blocks.
  """
  length = query_BLHK.shape[1]
  size = max(mask.reach or length, SMALLEST_BLOCK)
  if length <= 3 * size:
    return einsum(query_BLHK, key_BMHK, value_BMHK, mask, dropout, bias)

  def split(array):
    """[B, L, ...] -> [B, N, Q, ...], the last block filled up with zeros."""
    padding = [(0, 0)] * array.ndim
    padding[1] = (0, -length % size)
    array = jnp.pad(array, padding)
    return array.reshape(len(array), -1, size, *array.shape[2:])

  def with_neighbours(array):
    """[B, N, Q, ...] -> [B, N, M, ...] with M = 3 Q."""
    padding = [(0, 0)] * array.ndim
    padding[1] = (1, 1)
    padded = jnp.pad(array, padding)
    sides = [padded[:, :-2], array, padded[:, 2:]]
    return jnp.concatenate(sides, axis=2)

  query_BNQHK = split(query_BLHK * (query_BLHK.shape[-1] ** -0.5))
  key_BNMHK, value_BNMHK = (
    with_neighbours(split(array)) for array in (key_BMHK, value_BMHK)
  )
  # Those of padding are 0, so nothing attends to it.
  own = split(mask.segments_BL), split(mask.positions_BL)
  near = tuple(with_neighbours(array) for array in own)
  scores_BNHQM = jnp.einsum(
    'BNQHK,BNMHK->BNHQM',
    query_BNQHK,
    key_BNMHK,
    preferred_element_type=jnp.float32,
  )
  if bias is not None:
    scores_BNHQM += bias(own[1], near[1])
  allowed_BN1QM = mask.between(own, near)[:, :, None]
  scores_BNHQM = jnp.where(allowed_BN1QM, scores_BNHQM, MASKED_SCORE)
  weights_BNHQM = jax.nn.softmax(scores_BNHQM).astype(query_BLHK.dtype)
  if dropout is not None:
    weights_BNHQM = dropout(weights_BNHQM)
  context = jnp.einsum('BNHQM,BNMHK->BNQHK', weights_BNHQM, value_BNMHK)
  return context.reshape(len(context), -1, *context.shape[3:])[:, :length]


def dot_product(
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: AttentionMask,
  dropout: Dropout = None,
  bias: Bias = None,
) -> jax.Array:
  """`jax.nn.dot_product_attention`: on a GPU cuDNN's, without L x M weights.

  cuDNN takes the bias in half precision.

  Raises:
    UserError: `dropout` is not None.
  """
  _refuse('dot_product', mask.rule, dropout)
  fused = _cudnn_takes(query_BLHK)
  bias_BHLM = None
  if bias is not None:
    bias_BHLM = bias(mask.positions_BL, mask.positions_BL)
    if fused:
      bias_BHLM = bias_BHLM.astype(query_BLHK.dtype)
  return jax.nn.dot_product_attention(
    query_BLHK,
    key_BMHK,
    value_BMHK,
    bias=bias_BHLM,
    mask=mask.dense(),
    implementation='cudnn' if fused else 'xla',
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
  mask: AttentionMask,
  dropout: Dropout = None,
  bias: Bias = None,
) -> jax.Array:
  """jax's Pallas kernel for TPUs, without L x M weights in memory.

  On a CPU it is interpreted, so slow. Padding attends to padding.

  Raises:
    UserError: on a GPU; `dropout` or `bias` is not None; a rule without a
      mask for this kernel; a length that is not a multiple of the last of
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

  length = query_BLHK.shape[1]
  _check_tpu_kernel('splash', length, mask, dropout, bias)
  of_rule = attention_mask.rule_named(mask.rule).splash
  assert of_rule is not None  # or it was refused
  # With a window, blocks that do not reach far beyond it, and a gradient of the
  # query by a kernel of its own: the fused one goes through blocks that it
  # skips, and writes a gradient for each block of keys, which are therefore
  # long without a window.
  most = max(mask.window or length, SPLASH_BLOCKS[-1])
  block = next(b for b in SPLASH_BLOCKS if not length % b and b <= most)
  of_query = None if mask.window is None else block
  most = 2048 if mask.window is None else block
  keys = max(b for b in range(block, most + 1, block) if not length % b)
  # Positions go last: a head's few features would be padded to 128 in memory.
  last = kernel.QKVLayout.SEQ_MINOR
  sizes = kernel.BlockSizes(
    block_q=block,
    block_kv=block,
    block_q_dkv=block,
    block_kv_dkv=keys,
    block_kv_dkv_compute=block,
    q_layout=last,
    k_layout=last,
    v_layout=last,
    block_q_dq=of_query,
    block_kv_dq=of_query,
    use_fused_bwd_kernel=of_query is None,
  )

  def attend(query_BLHK, key_BMHK, value_BMHK, segments_BL):
    heads = query_BLHK.shape[2]  # on this device
    attend_row = kernel.make_splash_mha(
      masks.MultiHeadMask([of_rule(length, mask.reach)] * heads),
      head_shards=1,
      q_seq_shards=1,
      block_sizes=sizes,
      interpret=rules.platform() == 'cpu',
    )
    return jax.vmap(attend_row)(
      *(x.swapaxes(1, 2) for x in (query_BLHK, key_BMHK, value_BMHK)),
      kernel.SegmentIds(segments_BL, segments_BL),
    ).swapaxes(1, 2)

  return _on_tpus(attend, query_BLHK, key_BMHK, value_BMHK, mask)


def local(
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: AttentionMask,
  dropout: Dropout = None,
  bias: Bias = None,
) -> jax.Array:
  """The TPU's kernel for windows: `local_attention`; without a window `splash`.

  It is `splash`, too, for rules other than 'all', and for rows that are too
  long. Errors as of `splash`.
  """
  # Imported here because nothing else needs Pallas.
  from bertjax.models import local_attention

  length, width = query_BLHK.shape[1], query_BLHK.shape[3]
  _check_tpu_kernel('local', length, mask, dropout, bias)
  if not (
    mask.reach is not None
    and mask.rule == 'all'
    and local_attention.fits(length, width, mask.reach, rules.device_kind())
  ):
    return splash(query_BLHK, key_BMHK, value_BMHK, mask)

  def attend(query_BLHK, key_BMHK, value_BMHK, segments_BL):
    return local_attention.attend(
      *(x.transpose(0, 2, 3, 1) for x in (query_BLHK, key_BMHK, value_BMHK)),
      segments_BL,
      mask.reach,
      rules.platform() == 'cpu',
    ).transpose(0, 3, 1, 2)

  return _on_tpus(attend, query_BLHK, key_BMHK, value_BMHK, mask)


def _check_tpu_kernel(
  name: str, length: int, mask: AttentionMask, dropout: Dropout, bias: Bias
) -> None:
  told = None if bias is None else 'a bias of scores'
  _refuse(name, mask.rule, dropout, told)
  if rules.platform() == 'gpu':
    raise UserError(
      f'attention_kernel {name!r} is for TPUs; set '
      "EncoderConfig.attention_kernel = 'auto'"
    )
  if length % SPLASH_BLOCKS[-1]:
    raise UserError(
      f'attention_kernel {name!r} needs a length that is a multiple of '
      f'{SPLASH_BLOCKS[-1]}, got {length}; set LENGTH, or '
      "EncoderConfig.attention_kernel = 'blocks'"
    )


def _on_tpus(
  attend: Callable[..., jax.Array],
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: AttentionMask,
) -> jax.Array:
  """Calls attend(scaled query, key, value, segments) on each device's part."""
  if rules.platform() == 'tpu' and not rules.one_device_each():
    # XLA cannot partition a Pallas kernel by itself. Only few rows come this
    # way: sample texts, predictions.
    return blocks(query_BLHK, key_BMHK, value_BMHK, mask)
  axes = ('batch', 'length', 'heads', 'head_width')
  on_devices = rules.on_each_device(attend, (axes, axes, axes, axes[:2]), axes)
  query_BLHK = query_BLHK * query_BLHK.shape[-1] ** -0.5
  return on_devices(query_BLHK, key_BMHK, value_BMHK, mask.segments_BL)


def automatic(
  query_BLHK: jax.Array,
  key_BMHK: jax.Array,
  value_BMHK: jax.Array,
  mask: AttentionMask,
  dropout: Dropout = None,
  bias: Bias = None,
) -> jax.Array:
  """Picks the TPU's or the GPU's kernel from length 512 on, else `blocks`.

  With dropout of weights, and for a window on a GPU, it is always `blocks`,
  which is `einsum` without a window.
  """
  length = query_BLHK.shape[1]
  kernel = blocks
  if dropout is None and length >= 512:
    if _cudnn_takes(query_BLHK) and mask.window is None:
      kernel = dot_product
    elif (
      rules.platform() == 'tpu'
      and bias is None
      and attention_mask.rule_named(mask.rule).splash is not None
      and not length % SPLASH_BLOCKS[-1]
    ):
      kernel = local
  return kernel(query_BLHK, key_BMHK, value_BMHK, mask, dropout, bias)


def check(config: EncoderConfig) -> None:
  """Refuses, before anything is built, a kernel that cannot train.

  Raises:
    UserError: attention dropout, a rule or a position scheme with a kernel that
      cannot do it.
  """
  scheme = config.choose(SCHEMES, 'position_scheme')
  bias = f'position_scheme {config.position_scheme!r}' if scheme.bias else None
  dropout = config.attention_dropout_rate or None
  for spec in layer_patterns.specs(config):
    _refuse(config.attention_kernel, spec.rule, dropout, bias)


def _refuse(
  kernel: str, rule: str, dropout: object, bias: str | None = None
) -> None:
  """Raises UserError for what a kernel of `KERNELS` cannot do.

  Args:
    kernel: its name.
    rule: a name in `attention_mask.RULES`.
    dropout: None: there is none.
    bias: what adds one to the scores; None: nothing does.
  """
  if kernel in ('splash', 'local'):
    known = attention_mask.rule_named(rule).splash is not None
    if lacking := bias if known else f'the rule {rule!r}':
      raise UserError(
        f'attention_kernel {kernel!r} cannot do {lacking}; set '
        "EncoderConfig.attention_kernel = 'auto'"
      )
  if kernel in ('dot_product', 'splash', 'local') and dropout is not None:
    raise UserError(
      f'attention_kernel {kernel!r} cannot drop out attention weights; set '
      "EncoderConfig.attention_dropout = 0.0, or attention_kernel = 'einsum'"
    )


KERNELS = {
  'auto': automatic,
  'einsum': einsum,
  'blocks': blocks,
  'dot_product': dot_product,
  'splash': splash,
  'local': local,
}
