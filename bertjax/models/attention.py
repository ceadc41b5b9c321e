"""Multi-head self-attention under a given mask.

    mask = AttentionMask(batch['segments'], batch['positions'])
    hidden_BLD = SelfAttention(config, spec, name='attention')(
        hidden_BLD, mask, train=False)

Source: Vaswani et al. 2017, section 3.2.2; google-research/bert `modeling.py`
(`attention_layer`).
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax

from bertjax.models import layers
from bertjax.models.attention_mask import AttentionMask
from bertjax.models.config import EncoderConfig
from bertjax.models.kernels import KERNELS
from bertjax.models.layer_patterns import LayerSpec
from bertjax.models.positions import SCHEMES


class SelfAttention(nn.Module):
  """Projects to queries, keys and values, attends, and projects back to D.

  Attributes:
    config: the architecture.
    spec: of the layer.
  """

  config: EncoderConfig
  spec: LayerSpec

  @nn.compact
  def __call__(
    self, hidden_BLD: jax.Array, mask: AttentionMask, train: bool
  ) -> jax.Array:
    """Mixes positions.

    Args:
      hidden_BLD: float[B, L, D].
      mask: whether query L may attend to key M, with M = L.
      train: whether to drop out attention weights.

    Returns:
      compute_dtype[B, L, D], before dropout, residual and norm.
    """
    config = self.config
    project = functools.partial(
      layers.dense,
      config,
      (config.heads, config.head_width),
      ('width', 'heads', 'head_width'),
    )
    query_BLHK = project('query')(hidden_BLD)
    key_BMHK = project('key')(hidden_BLD)
    value_BMHK = project('value')(hidden_BLD)
    scheme = config.choose(SCHEMES, 'position_scheme')
    bias_BHLM = None
    if scheme.rotate is not None:
      rotate = functools.partial(
        scheme.rotate, config, self.spec, mask.positions_BL
      )
      query_BLHK, key_BMHK = rotate(query_BLHK), rotate(key_BMHK)
    if scheme.bias is not None:
      bias_BHLM = scheme.bias(config, self.spec, mask.positions_BL)
    dropout: Callable[[jax.Array], jax.Array] | None = None
    if train and config.attention_dropout_rate:
      dropout = functools.partial(
        layers.Dropout(config.attention_dropout_rate, name='dropout'),
        train=True,
      )
    elif config.attention_kernel == 'einsum':  # the others never form weights
      dropout = layers.Tap(name='weights')
    kernel = config.choose(KERNELS, 'attention_kernel')
    context_BLHK = kernel(
      query_BLHK, key_BMHK, value_BMHK, mask, dropout, bias_BHLM
    )
    context_BLHK = layers.Tap(name='context')(context_BLHK)
    return layers.dense(
      config, config.width, ('heads', 'head_width', 'width'), 'output', inputs=2
    )(context_BLHK)
