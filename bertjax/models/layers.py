"""The primitives that all modules are built from, with BERT's defaults.

    hidden = layers.dense(config, 64, ('width', 'feed_forward'), 'input')(x)
    hidden = layers.norm(config, 'norm')(hidden)
    hidden = layers.Dropout(0.1, name='dropout')(hidden, train=True)

`dense`, `embed` and `norm` make a submodule of the module whose method calls
them, so that initialisation, dtypes and logical axes are written once. Source:
google-research/bert `modeling.py` (`create_initializer`, `layer_norm`,
`dropout`).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bertjax.models.config import EncoderConfig
from bertjax.parallel.rules import Axes

Initializer = Callable[..., jax.Array]  # (key, shape, dtype) -> array


def truncated_normal(config: EncoderConfig, role: str) -> Initializer:
  """A normal distribution truncated at two deviations, as TensorFlow's.

  The standard deviation of the samples is therefore 0.88 of
  `initializer_stddev`; neither BERT nor this rescales it.
  """
  return nn.initializers.truncated_normal(config.initializer_stddev)


def normal(config: EncoderConfig, role: str) -> Initializer:
  """A normal distribution: fairseq's RoBERTa."""
  return nn.initializers.normal(config.initializer_stddev)


def megatron(config: EncoderConfig, role: str) -> Initializer:
  """`truncated_normal`, narrower the more layers add to the residual stream.

  Those products, and the heads' of their width, have the deviation divided by
  (2 N) ** 0.5; classifiers have D ** -0.5. Source: Shoeybi et al. 2019,
  section 4.2; ModernBERT's `_init_weights` in transformers, which truncates.
  """
  stddev = config.initializer_stddev
  if role in ('residual', 'head'):
    stddev *= (2 * config.layers) ** -0.5
  if role == 'classifier':
    stddev = config.width**-0.5
  return nn.initializers.truncated_normal(stddev)


# (configuration, role of the kernel) -> Initializer. Roles are 'inner';
# 'residual', a product that is added to the residual stream; 'head', the dense
# layer of a head; 'classifier', its last product. Other code may add entries.
INITIALIZERS: dict[str, Callable[[EncoderConfig, str], Initializer]] = {
  'truncated_normal': truncated_normal,
  'normal': normal,
  'megatron': megatron,
}


def kernel_initializer(
  config: EncoderConfig, axes: Axes, role: str = 'inner'
) -> Callable[..., Any]:
  """The initializer that the configuration names; see `INITIALIZERS`."""
  initializer = config.choose(INITIALIZERS, 'initializer')(config, role)
  return nn.with_logical_partitioning(initializer, axes)


def zeros_initializer(axes: Axes) -> Callable[..., Any]:
  """Zeros, for biases."""
  return nn.with_logical_partitioning(nn.initializers.zeros_init(), axes)


def dense(
  config: EncoderConfig,
  features: int | tuple[int, ...],
  axes: Axes,
  name: str,
  inputs: int = 1,
  bias_axes: Axes | None = None,
  bias: bool = True,
  role: str = 'inner',
) -> nn.DenseGeneral:
  """A linear map of the last `inputs` dimensions.

  Args:
    config: gives initialisation and dtypes.
    features: the dimensions that replace them.
    axes: logical axes of the kernel, inputs first.
    name: the submodule's.
    inputs: how many dimensions are contracted.
    bias_axes: logical axes of the bias; None: those of the kernel's outputs.
    bias: whether there is one.
    role: of the kernel, see `INITIALIZERS`.
  """
  return nn.DenseGeneral(
    features,
    axis=tuple(range(-inputs, 0)),
    dtype=config.compute_dtype,
    param_dtype=config.param_dtype,
    use_bias=bias,
    kernel_init=kernel_initializer(config, axes, role),
    bias_init=zeros_initializer(bias_axes or axes[inputs:]),
    name=name,
  )


def embed(
  config: EncoderConfig,
  rows: int,
  axis: str,
  name: str,
  dtype: str | None = None,
) -> nn.Embed:
  """A table of `rows` vectors; an index beyond them gives NaN.

  Args:
    config: gives initialisation, width and dtypes.
    rows: number of vectors.
    axis: logical axis of the rows.
    name: the submodule's.
    dtype: of the result of a lookup; None: `config.compute_dtype`.
  """
  return nn.Embed(
    rows,
    config.width,
    dtype=dtype or config.compute_dtype,
    param_dtype=config.param_dtype,
    embedding_init=kernel_initializer(config, (axis, 'width')),
    name=name,
  )


def layer_norm(config: EncoderConfig, name: str, axis: str) -> nn.LayerNorm:
  """Layer norm over the last dimension, with statistics in float32.

  In float32 the variance is the mean of squared differences: flax's
  shortcut, the mean of squares less the square of the mean, loses digits if the
  mean is large. In half precision the rounding of the inputs loses more, and
  the shortcut saves one pass over them both forward and backward.
  """
  return nn.LayerNorm(
    epsilon=config.norm_epsilon,
    dtype=config.compute_dtype,
    param_dtype=config.param_dtype,
    use_bias=config.norm_bias,
    use_fast_variance=config.compute_dtype != 'float32',
    scale_init=_ones(axis),
    bias_init=zeros_initializer((axis,)),
    name=name,
  )


def rms_norm(config: EncoderConfig, name: str, axis: str) -> nn.RMSNorm:
  """Divides by the root of the mean square: Zhang and Sennrich 2019.

  It has no bias, whatever `norm_bias` says; statistics are float32.
  """
  return nn.RMSNorm(
    epsilon=config.norm_epsilon,
    dtype=config.compute_dtype,
    param_dtype=config.param_dtype,
    scale_init=_ones(axis),
    name=name,
  )


def _ones(axis: str) -> Callable[..., Any]:
  return nn.with_logical_partitioning(nn.initializers.ones_init(), (axis,))


Norm = Callable[[jax.Array], jax.Array]
# (configuration, name of the submodule, logical axis of the last dimension) ->
# module. Other code may add entries.
NORMS: dict[str, Callable[[EncoderConfig, str, str], Norm]] = {
  'layer_norm': layer_norm,
  'rms_norm': rms_norm,
}


def norm(config: EncoderConfig, name: str, axis: str = 'width') -> Norm:
  """The norm that the configuration names.

  Args:
    config: gives its kind and dtypes.
    name: the submodule's; ends in 'norm', so that it does not decay (see
      `optimizer.decay_mask`).
    axis: logical axis of the dimension that is normalised, the last.
  """
  return config.choose(NORMS, 'norm')(config, name, axis)


def _mix(word: jax.Array) -> jax.Array:
  """Scrambles uint32, one to one: each bit depends on all bits of `word`."""
  # The least biased constants that Wellons' search found ('lowbias32').
  word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
  word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
  return word ^ (word >> 16)


def hash_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Returns random uint32[shape]: each element hashes the key and its index.

      >>> hash_bits(jax.random.key(0), (2, 3)).shape
      (2, 3)

  A pure function of the global index: XLA fuses it with its consumer,
  partitions it in the same way, and draws the same bits on every mesh. Not for
  cryptography.

  Args:
    key: a key of `jax.random`.
    shape: of at least one dimension; at most 2 ** 32 rows of the last.

  Source: the mixer is that of Chris Wellons' hash-prospector.
  """
  first, second = jax.random.key_data(key).reshape(-1)[:2]
  row = jnp.zeros((*shape[:-1], 1), jnp.uint32)
  for axis, size in enumerate(shape[:-1]):
    row = row * jnp.uint32(size) + jax.lax.broadcasted_iota(
      jnp.uint32, row.shape, axis
    )
  row = _mix(_mix(row + first) ^ second)
  column = jax.lax.broadcasted_iota(jnp.uint32, shape, len(shape) - 1)
  # The odd multiplier, 2 ** 32 over the golden ratio, spreads neighbours.
  return _mix(row + column * jnp.uint32(0x9E3779B9))


class Tap(nn.Module):
  """Names a value that no submodule returns, and returns it untouched.

  It adds no operation to the compiled program; `bertjax.inspection.taps`
  captures what submodules return.
  """

  def __call__(self, value: jax.Array) -> jax.Array:
    """Returns `value`."""
    return value


class Dropout(nn.Module):
  """Sets elements to 0 at `rate` and scales the rest to keep the expectation.

      >>> Dropout(0.5).apply({}, jnp.ones(3), train=False).tolist()
      [1.0, 1.0, 1.0]

  The only place that draws random bits in a forward pass; the rate is exact to
  2 ** -33.

  Attributes:
    rate: in [0, 1).
  """

  rate: float

  @nn.compact
  def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
    """Drops elements out if `train`, for which it needs the rng 'dropout'."""
    if not train or self.rate == 0.0:
      return inputs
    bits = hash_bits(self.make_rng('dropout'), inputs.shape)
    dropped = jnp.uint32(min(round(self.rate * 2**32), 2**32 - 1))
    return jnp.where(bits >= dropped, inputs * (1.0 / (1.0 - self.rate)), 0)
