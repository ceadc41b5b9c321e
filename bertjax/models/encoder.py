"""The stack of layers, each norm after its residual (post-LN).

    hidden_BLD = Encoder(config, name='encoder')(
        hidden_BLD, mask_B1LM, train=False)

Source: Devlin et al. 2019, section 3; google-research/bert `modeling.py`
(`transformer_model`).
"""

import flax.linen as nn
import jax

from bertjax import partitioning
from bertjax.models import layers
from bertjax.models.attention import SelfAttention
from bertjax.models.config import EncoderConfig
from bertjax.models.feed_forward import FeedForward


class Layer(nn.Module):
  """Attention, then feed-forward, each dropped out, added and normed.

  Attributes:
    config: the architecture.
  """

  config: EncoderConfig

  @nn.compact
  def __call__(
      self, hidden_BLD: jax.Array, mask_B1LM: jax.Array, train: bool
  ) -> jax.Array:
    """Returns compute_dtype[B, L, D]; see `Encoder` for the arguments."""
    config = self.config

    update_BLD = SelfAttention(config, name='attention')(
        hidden_BLD, mask_B1LM, train)
    update_BLD = layers.Dropout(config.dropout, name='attention_dropout')(
        update_BLD, train)
    hidden_BLD = layers.norm(config, 'attention_norm')(hidden_BLD + update_BLD)

    update_BLD = FeedForward(config, name='feed_forward')(hidden_BLD)
    update_BLD = layers.Dropout(config.dropout, name='feed_forward_dropout')(
        update_BLD, train)
    return layers.norm(config, 'feed_forward_norm')(hidden_BLD + update_BLD)


class Encoder(nn.Module):
  """Layers `layer_00`, `layer_01`, ... in order.

  Attributes:
    config: the architecture.
  """

  config: EncoderConfig

  @nn.compact
  def __call__(
      self, hidden_BLD: jax.Array, mask_B1LM: jax.Array, train: bool
  ) -> jax.Array:
    """Encodes.

    Args:
      hidden_BLD: float[B, L, D], the embeddings.
      mask_B1LM: bool[B, 1 or H, L, M] with M = L, whether L may attend to M.
      train: whether to drop out.

    Returns:
      compute_dtype[B, L, D], the output of the last layer.
    """
    # Without these constraints XLA may shard the width of what lies between
    # layers as it shards the parameters, and gather it again in every layer.
    axes = ('batch', 'length', 'width')
    hidden_BLD = partitioning.constrain(hidden_BLD, *axes)
    for index in range(self.config.layers):
      hidden_BLD = Layer(self.config, name=f'layer_{index:02}')(
          hidden_BLD, mask_B1LM, train)
      hidden_BLD = partitioning.constrain(hidden_BLD, *axes)
    return hidden_BLD
