"""The stack of layers, with each norm after its residual (post-LN).

    hidden_BLD = Encoder(config, name='encoder')(
        hidden_BLD, mask, train=False)

Source: Devlin et al. 2019, section 3; google-research/bert `modeling.py`
(`transformer_model`).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bertjax.errors import choose
from bertjax.models import layers
from bertjax.models.attention import SelfAttention
from bertjax.models.config import EncoderConfig
from bertjax.models.feed_forward import FeedForward
from bertjax.models.kernels import Mask
from bertjax.parallel import rules

# What is recomputed of a layer -> policy for what is saved (None: everything).
# Each takes less memory and more time than the one before.
REMATERIALISATION: dict[str, Callable[..., Any] | None] = {
  'nothing': None,
  'products': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'everything': jax.checkpoint_policies.nothing_saveable,
}


class Layer(nn.Module):
  """Attention, then feed-forward, each followed by dropout, residual and norm.

  Attributes:
    config: the architecture.
    train: whether dropout is on.
  """

  config: EncoderConfig
  train: bool

  @nn.compact
  def __call__(self, hidden_BLD: jax.Array, mask: Mask) -> jax.Array:
    """Returns compute_dtype[B, L, D]; see `Encoder` for the arguments."""
    config, train = self.config, self.train

    update_BLD = SelfAttention(config, name='attention')(
      hidden_BLD, mask, train
    )
    update_BLD = layers.Dropout(config.dropout, name='attention_dropout')(
      update_BLD, train
    )
    hidden_BLD = layers.norm(config, 'attention_norm')(hidden_BLD + update_BLD)

    update_BLD = FeedForward(config, name='feed_forward')(hidden_BLD)
    update_BLD = layers.Dropout(config.dropout, name='feed_forward_dropout')(
      update_BLD, train
    )
    hidden_BLD = layers.norm(config, 'feed_forward_norm')(
      hidden_BLD + update_BLD
    )
    # Without this XLA may shard the width of activations between layers as it
    # shards the parameters, and gather them again in every layer.
    return rules.constrain(hidden_BLD, 'batch', 'length', 'width')


class Encoder(nn.Module):
  """Layers `layer_00`, `layer_01`, ... in order."""

  config: EncoderConfig

  @nn.compact
  def __call__(
    self, hidden_BLD: jax.Array, mask: Mask, train: bool
  ) -> jax.Array:
    """Runs all layers.

    Args:
      hidden_BLD: float[B, L, D], the embeddings.
      mask: bool[B, 1 or H, L, M] with M = L, whether query L may attend to
        key M; or a `SegmentMask`.
      train: whether dropout is on.

    Returns:
      compute_dtype[B, L, D], the last layer's output.
    """
    config = self.config
    policy = choose(
      REMATERIALISATION, config.recompute, 'EncoderConfig.recompute'
    )
    hidden_BLD = rules.constrain(hidden_BLD, 'batch', 'length', 'width')
    if config.scan_layers and not self.is_initializing():
      return self._scan(hidden_BLD, mask, train, policy)
    layer = Layer if policy is None else nn.remat(Layer, policy=policy)
    for index in range(config.layers):
      hidden_BLD = layer(config, train, name=f'layer_{index:02}')(
        hidden_BLD, mask
      )
    return hidden_BLD

  def _scan(
    self,
    hidden_BLD: jax.Array,
    mask: Mask,
    train: bool,
    policy: Callable[..., Any] | None,
  ) -> jax.Array:
    """Runs all layers in a loop of the compiled program, which is then small.

    Each layer keeps its own parameters, which are stacked here. Dropout draws
    other bits than in the unrolled layers, and intermediates cannot be captured
    (so `inspection.taps` unrolls the layers).
    """
    layer = Layer(self.config, train, parent=None)
    drops = train and self.has_rng('dropout')
    rng = self.make_rng('dropout') if drops else None

    def body(hidden_BLD, parameters_and_index):
      parameters, index = parameters_and_index
      rngs = None
      if rng is not None:
        rngs = {'dropout': jax.random.fold_in(rng, index)}
      return layer.apply(
        {'params': parameters}, hidden_BLD, mask, rngs=rngs
      ), None

    if policy is not None:
      body = jax.checkpoint(body, policy=policy, prevent_cse=False)
    count = self.config.layers
    stacked = jax.tree.map(
      lambda *arrays: jnp.stack(arrays),
      *(self.variables['params'][f'layer_{i:02}'] for i in range(count)),
    )
    return jax.lax.scan(body, hidden_BLD, (stacked, jnp.arange(count)))[0]
