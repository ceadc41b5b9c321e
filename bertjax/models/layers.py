"""The primitives that every module is made of, with BERT's defaults.

    hidden = layers.dense(config, 64, ('width', 'feed_forward'), 'input')(x)
    hidden = layers.norm(config, 'norm')(hidden)
    hidden = layers.Dropout(0.1, name='dropout')(hidden, train=True)

The first three make a submodule of the module whose method calls them, so that
initialisation, dtypes and logical axes are written once. Source:
google-research/bert `modeling.py` (`create_initializer`, `layer_norm`,
`dropout`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bertjax.models.config import EncoderConfig

Axes = tuple[str | None, ...]


def kernel_initializer(config: EncoderConfig, axes: Axes):
  """Normal cut at two of the given deviations, as TensorFlow's.

  The deviation of what is drawn is therefore 0.88 of `initializer_stddev`;
  neither BERT nor this rescales it.
  """
  return nn.with_logical_partitioning(
    nn.initializers.truncated_normal(config.initializer_stddev), axes
  )


def zeros_initializer(axes: Axes):
  """Zeros, for biases."""
  return nn.with_logical_partitioning(nn.initializers.zeros_init(), axes)


def dense(
  config: EncoderConfig,
  features: int | tuple[int, ...],
  axes: Axes,
  name: str,
  inputs: int = 1,
  bias_axes: Axes | None = None,
) -> nn.DenseGeneral:
  """A linear map of the last `inputs` dimensions, with bias.

  Args:
    config: gives initialisation and dtypes.
    features: the dimensions that replace them.
    axes: logical axes of the kernel, inputs first.
    name: of the submodule.
    inputs: how many dimensions are contracted.
    bias_axes: logical axes of the bias; None is those of the kernel's outputs.
  """
  return nn.DenseGeneral(
    features,
    axis=tuple(range(-inputs, 0)),
    dtype=config.compute_dtype,
    param_dtype=config.param_dtype,
    kernel_init=kernel_initializer(config, axes),
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
    rows: of the table.
    axis: logical axis of the rows.
    name: of the submodule.
    dtype: of what is looked up; None is `config.compute_dtype`.
  """
  return nn.Embed(
    rows,
    config.width,
    dtype=dtype or config.compute_dtype,
    param_dtype=config.param_dtype,
    embedding_init=kernel_initializer(config, (axis, 'width')),
    name=name,
  )


def norm(config: EncoderConfig, name: str) -> nn.LayerNorm:
  """Layer norm over the width, its statistics in float32.

  In float32 the variance is the mean of squared differences: flax's shortcut,
  the mean of squares less the square of the mean, loses digits where the mean
  is large. With half precision the rounding of the inputs loses more, and the
  shortcut spares one pass over them in each direction.
  """
  return nn.LayerNorm(
    epsilon=config.norm_epsilon,
    dtype=config.compute_dtype,
    param_dtype=config.param_dtype,
    use_fast_variance=config.compute_dtype != 'float32',
    scale_init=nn.with_logical_partitioning(
      nn.initializers.ones_init(), ('width',)
    ),
    bias_init=zeros_initializer(('width',)),
    name=name,
  )


def _mix(word: jax.Array) -> jax.Array:
  """Scrambles uint32, one to one: every bit of it depends on every other."""
  # Constants of the least bias that Wellons' search found ('lowbias32').
  word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
  word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
  return word ^ (word >> 16)


def hash_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Returns uint32 of a shape, each of the key and of its own place alone.

  A pure function of the global index: XLA fuses it with what uses it, divides
  it as it divides that, and draws the same on every mesh. Not for cryptography.

  Args:
    key: a key of `jax.random`.
    shape: of at least one dimension; at most 2 ** 32 rows of the last.

  Source: ours; the mixer is that of Chris Wellons' hash-prospector.
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
  """Gives what no submodule returns a name, and gives it back untouched.

  No operation, so a compiled program is the same without;
  `bertjax.inspection.taps` looks at what submodules return.
  """

  def __call__(self, value: jax.Array) -> jax.Array:
    """Returns `value`."""
    return value


class Dropout(nn.Module):
  """Sets elements to 0 at `rate` and scales the rest to keep the expectation.

  The only place that draws random bits in a forward pass; the rate is exact to
  2 ** -33.

  Attributes:
    rate: in [0, 1).
  """

  rate: float

  @nn.compact
  def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
    """Returns `inputs` untouched unless `train`; needs the rng 'dropout'."""
    if not train or self.rate == 0.0:
      return inputs
    bits = hash_bits(self.make_rng('dropout'), inputs.shape)
    dropped = jnp.uint32(min(round(self.rate * 2**32), 2**32 - 1))
    return jnp.where(bits >= dropped, inputs * (1.0 / (1.0 - self.rate)), 0)
