"""The stack of layers, and the orders of what a layer consists of by name.

    hidden_BLD = Encoder(config, name='encoder')(
        hidden_BLD, mask, train=False)

Source: Devlin et al. 2019, section 3; google-research/bert `modeling.py`
(`transformer_model`).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bertjax.models import layer_patterns, layers
from bertjax.models.attention import SelfAttention
from bertjax.models.attention_mask import AttentionMask
from bertjax.models.config import EncoderConfig
from bertjax.models.feed_forward import FeedForward
from bertjax.models.layer_patterns import LayerSpec
from bertjax.parallel import rules

# What is recomputed of a layer -> policy for what is saved (None: everything).
# Each takes less memory and more time than the one before.
REMATERIALISATION: dict[str, Callable[..., Any] | None] = {
  'nothing': None,
  'products': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'everything': jax.checkpoint_policies.nothing_saveable,
}
Sublayer = Callable[[jax.Array], jax.Array]


class BlockOrder(NamedTuple):
  """Where dropout, residual and norm stand.

  Attributes:
    wrap: (config, whether it has a norm, hidden, sublayer, name, train) ->
      hidden, the input plus what the sublayer makes of it; all
      compute_dtype[B, L, D]. Makes the submodules `{name}_dropout` and
      `{name}_norm`, in a layer.
    finish: (config, hidden) -> hidden, after the last layer; may make
      submodules, in the encoder. None: nothing.
    sums: whether hidden is the sum of what all layers before it gave.
  """

  wrap: Callable[
    [EncoderConfig, bool, jax.Array, Sublayer, str, bool], jax.Array
  ]
  finish: Callable[[EncoderConfig, jax.Array], jax.Array] | None = None
  sums: bool = False


def post_norm(
  config: EncoderConfig,
  norm: bool,
  hidden_BLD: jax.Array,
  sublayer: Sublayer,
  name: str,
  train: bool,
) -> jax.Array:
  """Each sublayer is followed by dropout, residual and norm (post-LN)."""
  drop = layers.Dropout(config.dropout, name=f'{name}_dropout')
  update_BLD = drop(sublayer(hidden_BLD), train)
  hidden_BLD += update_BLD
  return layers.norm(config, f'{name}_norm')(hidden_BLD) if norm else hidden_BLD


def pre_norm(
  config: EncoderConfig,
  norm: bool,
  hidden_BLD: jax.Array,
  sublayer: Sublayer,
  name: str,
  train: bool,
) -> jax.Array:
  """Each sublayer reads a norm of its input (pre-LN; Xiong et al. 2020)."""
  drop = layers.Dropout(config.dropout, name=f'{name}_dropout')
  read_BLD = hidden_BLD
  if norm:
    read_BLD = layers.norm(config, f'{name}_norm')(hidden_BLD)
  return hidden_BLD + drop(sublayer(read_BLD), train)


def _final_norm(config: EncoderConfig, hidden_BLD: jax.Array) -> jax.Array:
  if not config.final_norm:
    return hidden_BLD
  return layers.norm(config, 'final_norm')(hidden_BLD)


# Other code may add entries.
BLOCK_ORDERS = {
  'post': BlockOrder(post_norm),
  'pre': BlockOrder(pre_norm, _final_norm, sums=True),
}


def _materialised(hidden_BLD: jax.Array, mask: AttentionMask) -> jax.Array:
  """Keeps XLA on CPUs from adding all layers up again wherever one is read.

  It would compute the residual stream, and its gradient, anew in each consumer:
  work that grows with the square of the depth
  (experiments/LOG.md). It removes `optimization_barrier` before it fuses, but
  fuses nothing across a branch. No segment is below 0, which XLA cannot know.
  """
  is_segment = mask.segments_BL[0, 0] >= 0
  return jax.lax.cond(
    is_segment, lambda x: x, lambda x: jnp.full_like(x, jnp.nan), hidden_BLD
  )


class Layer(nn.Module):
  """Attention, then feed-forward, each in the order of the configuration.

  Attributes:
    config: the architecture.
    train: whether dropout is on.
    spec: in what it differs from other layers.
  """

  config: EncoderConfig
  train: bool
  spec: LayerSpec

  @nn.compact
  def __call__(self, hidden_BLD: jax.Array, mask: AttentionMask) -> jax.Array:
    """Returns compute_dtype[B, L, D]; see `Encoder` for the arguments."""
    config, train, spec = self.config, self.train, self.spec
    order = config.choose(BLOCK_ORDERS, 'block_order')
    attend = functools.partial(
      SelfAttention(config, spec, name='attention'),
      mask=dataclasses.replace(mask, rule=spec.rule, window=spec.window),
      train=train,
    )
    feed_forward = FeedForward(config, name='feed_forward')
    for name, sublayer, norm in (
      ('attention', attend, spec.norm_first),
      ('feed_forward', feed_forward, True),
    ):
      hidden_BLD = order.wrap(config, norm, hidden_BLD, sublayer, name, train)
      if order.sums and rules.platform() == 'cpu':
        hidden_BLD = _materialised(hidden_BLD, mask)
    # Without this XLA may shard the width of activations between layers as it
    # shards the parameters, and gather them again in every layer.
    return rules.constrain(hidden_BLD, 'batch', 'length', 'width')


class Encoder(nn.Module):
  """Layers `layer_00`, `layer_01`, ... in order."""

  config: EncoderConfig

  @nn.compact
  def __call__(
    self, hidden_BLD: jax.Array, mask: AttentionMask, train: bool
  ) -> jax.Array:
    """Runs all layers.

    Args:
      hidden_BLD: float[B, L, D], the embeddings.
      mask: whether query L may attend to key M, with M = L; a layer takes the
        rule of its `LayerSpec`.
      train: whether dropout is on.

    Returns:
      compute_dtype[B, L, D], the last layer's output.
    """
    config = self.config
    policy = config.choose(REMATERIALISATION, 'recompute')
    hidden_BLD = rules.constrain(hidden_BLD, 'batch', 'length', 'width')
    specs = layer_patterns.specs(config)
    first = end = 0  # of the layers in a loop
    if config.scan_layers and not self.is_initializing():
      first, end, period = layer_patterns.loop(specs)
    layer = Layer if policy is None else nn.remat(Layer, policy=policy)
    for index, spec in enumerate(specs):
      if not first <= index < end:
        one = layer(config, train, spec, name=_name(index))
        hidden_BLD = one(hidden_BLD, mask)
      elif index == first:
        looped = specs[first:end]
        hidden_BLD = self._scan(hidden_BLD, mask, train, looped, first, period)
    finish = config.choose(BLOCK_ORDERS, 'block_order').finish
    return hidden_BLD if finish is None else finish(config, hidden_BLD)

  def _scan(
    self,
    hidden_BLD: jax.Array,
    mask: AttentionMask,
    train: bool,
    specs: Sequence[LayerSpec],
    start: int,
    period: int,
  ) -> jax.Array:
    """Runs layers in a loop of the compiled program, which is then small.

    Each layer keeps its own parameters, which are stacked here. Random streams,
    such as that of dropout, give other bits than in the unrolled layers, and
    intermediates cannot be captured (so `inspection.taps` unrolls the layers).

    Args:
      hidden_BLD: of `__call__`, as are mask and train.
      specs: of the layers that run, a multiple of `period`.
      start: index of the first of them.
      period: how many different layers a turn of the loop has.
    """
    assert self.scope is not None  # it is bound
    parameters = self.variables['params']
    streams = {name: self.make_rng(name) for name in self.scope.rngs}

    def body(hidden_BLD, turn):
      for spec, (own, index) in zip(specs[:period], turn, strict=True):
        rngs = {
          name: jax.random.fold_in(rng, index) for name, rng in streams.items()
        }
        layer = Layer(self.config, train, spec, parent=None)
        hidden_BLD = layer.apply({'params': own}, hidden_BLD, mask, rngs=rngs)
      return hidden_BLD, None

    policy = self.config.choose(REMATERIALISATION, 'recompute')
    if policy is not None:
      body = jax.checkpoint(body, policy=policy, prevent_cse=False)
    turns = []
    for first in range(period):
      indices = range(start + first, start + len(specs), period)
      own = [parameters[_name(index)] for index in indices]
      stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *own)
      turns.append((stacked, jnp.array(indices)))
    return jax.lax.scan(body, hidden_BLD, turns)[0]


def _name(index: int) -> str:
  return f'layer_{index:02}'
