"""The blocks that work on each position alone, and the activations, by name.

    hidden_BLD = FeedForward(config, name='feed_forward')(hidden_BLD)

Source: Vaswani et al. 2017, section 3.3, with the gelu of Hendrycks and
Gimpel 2016; Shazeer 2020 (arXiv:2002.05202) for those with a gate.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax

from bertjax.models import layers
from bertjax.models.config import EncoderConfig


def gelu(inputs: jax.Array) -> jax.Array:
  """x times the normal distribution function of x, through erf as in BERT.

      >>> round(float(gelu(jax.numpy.float32(1.0))), 4)
      0.8413

  `jax.nn.gelu(approximate=False)` computes the same function through erfc,
  which costs more both forward and backward.
  """
  return inputs * (0.5 * (1.0 + jax.lax.erf(inputs * 0.5**0.5)))


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  'gelu': gelu,
  'gelu_tanh': functools.partial(jax.nn.gelu, approximate=True),
  'relu': jax.nn.relu,
  'silu': jax.nn.silu,
}


def activate(
  config: EncoderConfig, inputs: jax.Array, field: str = 'activation'
) -> jax.Array:
  """Applies the activation that a field of the configuration names."""
  return config.choose(ACTIVATIONS, field)(inputs)


class FeedForwardBlock(NamedTuple):
  """A kind of block.

  Attributes:
    apply: (config, hidden, float[B, L, D]) -> compute_dtype[B, L, D], before
      dropout, residual and norm; makes its submodules.
    products: how many matrices of D x F it has.
  """

  apply: Callable[[EncoderConfig, jax.Array], jax.Array]
  products: int


def dense(config: EncoderConfig, hidden_BLD: jax.Array) -> jax.Array:
  """Projects D features to F, applies the activation, and projects back."""
  inner_BLF = activate(config, _expand(config, 'input')(hidden_BLD))
  return _contract(config, inner_BLF)


def gated(config: EncoderConfig, hidden_BLD: jax.Array) -> jax.Array:
  """Multiplies F features by the activation of F others, and projects back.

  GeGLU with gelu, SwiGLU with silu.
  """
  gate_BLF = activate(config, _expand(config, 'gate')(hidden_BLD))
  return _contract(config, gate_BLF * _expand(config, 'input')(hidden_BLD))


def _expand(config: EncoderConfig, name: str) -> nn.Module:
  axes, bias = ('width', 'feed_forward'), config.feed_forward_bias
  return layers.dense(config, config.feed_forward, axes, name, bias=bias)


def _contract(config: EncoderConfig, inner_BLF: jax.Array) -> jax.Array:
  inner_BLF = layers.Tap(name='activation')(inner_BLF)
  return layers.dense(
    config,
    config.width,
    ('feed_forward', 'width'),
    'output',
    bias=config.feed_forward_bias,
    role='residual',
  )(inner_BLF)


# Other code may add entries.
FEED_FORWARDS = {
  'dense': FeedForwardBlock(dense, products=2),
  'gated': FeedForwardBlock(gated, products=3),
}


class FeedForward(nn.Module):
  """Holds the submodules of the block that the configuration names."""

  config: EncoderConfig

  @nn.compact
  def __call__(self, hidden_BLD: jax.Array) -> jax.Array:
    """Returns compute_dtype[B, L, D], before dropout, residual and norm."""
    block = self.config.choose(FEED_FORWARDS, 'feed_forward_block')
    return block.apply(self.config, hidden_BLD)
