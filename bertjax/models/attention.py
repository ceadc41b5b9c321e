"""Multi-head self-attention under a given mask.

    mask = AttentionMask(batch['segments'], batch['positions'])
    hidden_BLD = SelfAttention(config, spec, name='attention')(
        hidden_BLD, mask, train=False)

Source: Vaswani et al. 2017, section 3.2.2; google-research/bert `modeling.py`
(`attention_layer`).
"""

import functools

import flax.linen as nn
import jax

from bertjax.models import layers
from bertjax.models.attention_mask import AttentionMask
from bertjax.models.config import EncoderConfig
from bertjax.models.kernels import KERNELS, Dropout
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
    heads = (config.heads, config.head_width)
    axes = ('width', 'heads', 'head_width')
    bias = config.attention_bias
    project = functools.partial(layers.dense, config, heads, axes, bias=bias)
    query_BLHK = project('query')(hidden_BLD)
    key_BMHK = project('key')(hidden_BLD)
    value_BMHK = project('value')(hidden_BLD)
    if config.query_key_norm:
      query_BLHK = layers.norm(config, 'query_norm', 'head_width')(query_BLHK)
      key_BMHK = layers.norm(config, 'key_norm', 'head_width')(key_BMHK)
    scheme = config.choose(SCHEMES, 'position_scheme')
    if scheme.rotate is not None:
      where = (config, self.spec, mask.positions_BL)
      query_BLHK = scheme.rotate(*where, query_BLHK)
      key_BMHK = scheme.rotate(*where, key_BMHK)
    score_bias = None
    if scheme.bias is not None:
      score_bias = functools.partial(scheme.bias, config, self.spec)
    dropout: Dropout = None
    if train and config.attention_dropout_rate:
      drop = layers.Dropout(config.attention_dropout_rate, name='dropout')
      dropout = functools.partial(drop, train=True)
    elif config.attention_kernel == 'einsum':  # the others never form weights
      dropout = layers.Tap(name='weights')
    kernel = config.choose(KERNELS, 'attention_kernel')
    context_BLHK = kernel(
      query_BLHK, key_BMHK, value_BMHK, mask, dropout, score_bias
    )
    context_BLHK = layers.Tap(name='context')(context_BLHK)
    return layers.dense(
      config,
      config.width,
      ('heads', 'head_width', 'width'),
      'output',
      inputs=2,
      bias=bias,
      role='residual',
    )(context_BLHK)
