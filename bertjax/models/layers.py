"""The four primitives that every module is made of, with BERT's defaults.

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
      nn.initializers.truncated_normal(config.initializer_stddev), axes)


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
      dtype=config.dtype,
      param_dtype=config.param_dtype,
      kernel_init=kernel_initializer(config, axes),
      bias_init=zeros_initializer(bias_axes or axes[inputs:]),
      name=name,
  )


def embed(config: EncoderConfig, rows: int, axis: str, name: str) -> nn.Embed:
  """A table of `rows` vectors; an index beyond them gives NaN."""
  return nn.Embed(
      rows,
      config.width,
      dtype=config.dtype,
      param_dtype=config.param_dtype,
      embedding_init=kernel_initializer(config, (axis, 'width')),
      name=name,
  )


def norm(config: EncoderConfig, name: str) -> nn.LayerNorm:
  """Layer norm over the width, its statistics in float32.

  The variance is the mean of squared differences: flax's shortcut, the mean of
  squares less the square of the mean, loses digits where the mean is large.
  """
  return nn.LayerNorm(
      epsilon=config.norm_epsilon,
      dtype=config.dtype,
      param_dtype=config.param_dtype,
      use_fast_variance=False,
      scale_init=nn.with_logical_partitioning(
          nn.initializers.ones_init(), ('width',)),
      bias_init=zeros_initializer(('width',)),
      name=name,
  )


class Dropout(nn.Module):
  """Sets elements to 0 at `rate` and scales the rest to keep the expectation.

  The only place that draws random bits in a forward pass. An element takes 16
  bits, half of a word of the generator, whose words are most of dropout's cost:
  the rate is exact to 2 ** -17, and the scale is that of the rounded rate.

  Attributes:
    rate: in [0, 1).
  """

  rate: float

  @nn.compact
  def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
    """Returns `inputs` untouched unless `train`; needs the rng 'dropout'."""
    if not train or self.rate == 0.0:
      return inputs
    *leading, size = inputs.shape
    words = jax.random.bits(
        self.make_rng('dropout'), (*leading, (size + 1) // 2), jnp.uint32)
    bits = jnp.concatenate([words >> 16, words & 0xFFFF], axis=-1)[..., :size]
    kept = max(1, round((1.0 - self.rate) * 2**16))  # out of 2 ** 16
    return jnp.where(bits < kept, inputs * (2**16 / kept), 0)
