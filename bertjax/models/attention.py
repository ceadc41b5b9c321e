"""Multi-head self-attention under a mask that the caller gives.

    mask_B1LM = segment_mask(batch['segments'])
    hidden_BLD = SelfAttention(config, name='attention')(
        hidden_BLD, mask_B1LM, train=False)

Source: Vaswani et al. 2017, section 3.2.2; google-research/bert `modeling.py`
(`attention_layer`).
"""

import functools

import flax.linen as nn
import jax

from bertjax.models import layers
from bertjax.models.config import EncoderConfig, choose
from bertjax.models.kernels import KERNELS


def segment_mask(segments_BL: jax.Array) -> jax.Array:
  """Lets a position attend to its own sequence and to nothing else.

  Args:
    segments_BL: int32[B, L], which packed sequence a position belongs to; 0 is
      padding, which neither attends nor is attended to.

  Returns:
    bool[B, 1, L, M] with M = L.
  """
  query_B1L1 = segments_BL[:, None, :, None]
  key_B11M = segments_BL[:, None, None, :]
  return (query_B1L1 == key_B11M) & (key_B11M != 0)


class SelfAttention(nn.Module):
  """Queries, keys, values, attention and the map back to the width.

  Attributes:
    config: the architecture.
  """

  config: EncoderConfig

  @nn.compact
  def __call__(
      self, hidden_BLD: jax.Array, mask_B1LM: jax.Array, train: bool
  ) -> jax.Array:
    """Mixes positions.

    Args:
      hidden_BLD: float[B, L, D].
      mask_B1LM: bool[B, 1 or H, L, M] with M = L, whether L may attend to M.
      train: whether to drop attention weights out.

    Returns:
      compute_dtype[B, L, D], before dropout, residual and norm.
    """
    config = self.config
    project = functools.partial(
        layers.dense, config, (config.heads, config.head_width),
        ('width', 'heads', 'head_width'))
    query_BLHK = project('query')(hidden_BLD)
    key_BMHK = project('key')(hidden_BLD)
    value_BMHK = project('value')(hidden_BLD)
    dropout = functools.partial(
        layers.Dropout(config.attention_dropout_rate, name='dropout'),
        train=train)
    kernel = choose(KERNELS, config.attention_kernel,
                    'EncoderConfig.attention_kernel')
    context_BLHK = kernel(query_BLHK, key_BMHK, value_BMHK, mask_B1LM, dropout)
    return layers.dense(
        config, config.width, ('heads', 'head_width', 'width'), 'output',
        inputs=2)(context_BLHK)
