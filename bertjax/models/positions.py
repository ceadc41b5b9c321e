"""How a model learns a token's position: a table of schemes by name.

    offset_BLD = positions.SCHEMES['learned'].embed(config, positions_BL)

Source: Devlin et al. 2019, figure 2; Vaswani et al. 2017, section 3.5; Hua et
al. 2022 (arXiv:2202.10447) for a learned scale; Su et al. 2021
(arXiv:2104.09864) for rotary positions; Press et al. 2022 (arXiv:2108.12409)
for ALiBi.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bertjax.errors import expect
from bertjax.models import layers
from bertjax.models.config import EncoderConfig
from bertjax.models.layer_patterns import LayerSpec
from bertjax.parallel import rules


class Scheme(NamedTuple):
  """Where positions act; each is a function, or None.

  Attributes:
    embed: (config, positions, int32[B, L]) -> compute_dtype[B, L, D], added to
      the token embeddings. Called inside `Embeddings.__call__`, so that it can
      make parameters.
    rotate: (config, layer_spec, positions, float[B, L, H, K]) -> the same shape
      and dtype; applied to the queries and to the keys of each layer.
    bias: (config, layer_spec, positions of the queries, int32[..., L], of the
      keys, int32[..., M]) -> float32[..., H, L, M], added to the scores of each
      layer.
  """

  embed: Callable[[EncoderConfig, jax.Array], jax.Array] | None = None
  rotate: (
    Callable[[EncoderConfig, LayerSpec, jax.Array, jax.Array], jax.Array] | None
  ) = None
  bias: (
    Callable[[EncoderConfig, LayerSpec, jax.Array, jax.Array], jax.Array] | None
  ) = None


def learned(config: EncoderConfig, positions_BL: jax.Array) -> jax.Array:
  """Looks positions up in a learned table.

  Args:
    config: `positions` is the number of rows.
    positions_BL: int32[B, L], from 0 in every sequence.

  Returns:
    compute_dtype[B, L, D]

  Raises:
    UserError: rows longer than the table.
  """
  _check_length(config, positions_BL)
  table = layers.embed(config, config.positions, 'positions', 'position')
  return table(positions_BL)


def _check_length(config: EncoderConfig, positions_BL: jax.Array) -> None:
  length = positions_BL.shape[1]
  what = f'a length within the {config.positions} positions of the model'
  valid = length <= config.positions
  expect(valid, what, length, 'LENGTH or EncoderConfig.positions')


def sinusoidal(config: EncoderConfig, positions_BL: jax.Array) -> jax.Array:
  """Gives even features the sine, odd ones the cosine, of position times rate.

  The rates fall from 1 to about 1 / 10000. Arguments, result and errors as of
  `learned`.
  """
  _check_length(config, positions_BL)
  rates = 10000.0 ** (-np.arange(0, config.width, 2) / config.width)
  angles = positions_BL[..., None] * rates.astype(np.float32)
  waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1)
  flat_BLD = waves.reshape(*positions_BL.shape, -1)[..., : config.width]
  return flat_BLD.astype(config.compute_dtype)


class Scale(nn.Module):
  """Multiplies by one learned number, at first D ** -0.5."""

  config: EncoderConfig

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Returns an array of the same shape and dtype."""
    first = nn.with_logical_partitioning(
      nn.initializers.constant(self.config.width**-0.5), (None,)
    )
    scale: Any = self.param('scale', first, (1,), self.config.param_dtype)
    return inputs * scale.astype(inputs.dtype)


def scaled_sinusoidal(
  config: EncoderConfig, positions_BL: jax.Array
) -> jax.Array:
  """`sinusoidal` times a learned number: Cramming's recipe."""
  scale = Scale(config, name='position_scale')
  return scale(sinusoidal(config, positions_BL))


def rotate(
  config: EncoderConfig,
  spec: LayerSpec,
  positions_BL: jax.Array,
  inputs_BLHK: jax.Array,
) -> jax.Array:
  """Turns features i and i + K / 2 by position times base ** (-2 i / K).

  In float32, which alone can tell distant positions apart.

  Raises:
    UserError: an odd head width; rows longer than `config.positions`.
  """
  _check_length(config, positions_BL)
  width = config.head_width
  what = 'an even width of heads for rotary positions'
  expect(width % 2 == 0, what, width, 'EncoderConfig.heads')
  rates = spec.position_base ** (-np.arange(0, width, 2) / width)
  angles_BL1K = positions_BL[:, :, None, None] * rates.astype(np.float32)
  sine, cosine = jnp.sin(angles_BL1K), jnp.cos(angles_BL1K)
  wide = inputs_BLHK.astype(jnp.float32)
  if rules.platform() == 'cpu':
    # There a product with ones and zeros is faster than slices and joins.
    half = np.eye(width // 2, dtype=np.float32)
    quarter_turn_KK = np.block([[0 * half, half], [-half, 0 * half]])
    turned_BLHK = jnp.matmul(wide, quarter_turn_KK, precision='highest')
    turned_BLHK *= jnp.concatenate([sine, sine], -1)
    kept_BLHK = wide * jnp.concatenate([cosine, cosine], -1)
    return (kept_BLHK + turned_BLHK).astype(inputs_BLHK.dtype)
  first, second = jnp.split(wide, 2, axis=-1)
  turned = [first * cosine - second * sine, second * cosine + first * sine]
  return jnp.concatenate(turned, -1).astype(inputs_BLHK.dtype)


def alibi(
  config: EncoderConfig,
  spec: LayerSpec,
  positions: jax.Array,
  positions_M: jax.Array,
) -> jax.Array:
  """Lowers scores in proportion to the distance, in each head by its slope.

  Deviation: in both directions alike, as MosaicBERT does.
  """
  distance_LM = abs(positions[..., :, None] - positions_M[..., None, :])
  distance_1LM = distance_LM[..., None, :, :].astype(jnp.float32)
  slopes_H11 = jnp.array(slopes(config.heads), jnp.float32)[:, None, None]
  return -slopes_H11 * distance_1LM


def slopes(heads: int) -> list[float]:
  """Returns the slopes of ALiBi, as the authors' code chooses them.

  A geometric series from 2 ** (-8 / H) to 2 ** -8. If H is no power of two,
  that of the power below, and every other one of the power above.

      >>> slopes(3)
      [0.0625, 0.00390625, 0.25]
  """
  power = 2 ** math.floor(math.log2(heads))
  found = [2.0 ** (-8 * i / power) for i in range(1, power + 1)]
  between = [2.0 ** (-4 * i / power) for i in range(1, 2 * power + 1, 2)]
  return found + between[: heads - power]


# Other code may add entries.
SCHEMES = {
  'learned': Scheme(embed=learned),
  'none': Scheme(),
  'sinusoidal': Scheme(embed=sinusoidal),
  'scaled_sinusoidal': Scheme(embed=scaled_sinusoidal),
  'alibi': Scheme(bias=alibi),
  'rotary': Scheme(rotate=rotate),
}
