"""How a model learns a token's position: a table of schemes by name.

    offset_BLD = positions.SCHEMES['learned'].embed(config, positions_BL)

Source: Devlin et al. 2019, figure 2.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from bertjax.errors import expect
from bertjax.models import layers
from bertjax.models.config import EncoderConfig
from bertjax.models.layer_patterns import LayerSpec


class Scheme(NamedTuple):
  """Where positions act; each is a function, or None.

  Attributes:
    embed: (config, positions, int32[B, L]) -> compute_dtype[B, L, D], added to
      the token embeddings. Called inside `Embeddings.__call__`, so that it can
      make parameters.
    rotate: (config, layer_spec, positions, float[B, L, H, K]) -> the same shape
      and dtype; applied to the queries and to the keys of each layer.
    bias: (config, layer_spec, positions) -> float32[B or 1, H, L, M], added to
      the scores of each layer.
  """

  embed: Callable[[EncoderConfig, jax.Array], jax.Array] | None = None
  rotate: (
    Callable[[EncoderConfig, LayerSpec, jax.Array, jax.Array], jax.Array] | None
  ) = None
  bias: Callable[[EncoderConfig, LayerSpec, jax.Array], jax.Array] | None = None


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
  length = positions_BL.shape[1]
  what = f'a length within the {config.positions} positions of the model'
  valid = length <= config.positions
  expect(valid, what, length, 'LENGTH or EncoderConfig.positions')
  table = layers.embed(config, config.positions, 'positions', 'position')
  return table(positions_BL)


# Other code may add entries.
SCHEMES = {'learned': Scheme(embed=learned)}
