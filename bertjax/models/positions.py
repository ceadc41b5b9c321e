"""How a model learns a token's position: a table of schemes by name.

    offset_BLD = positions.SCHEMES['learned'](config, positions_BL)

A scheme is called inside `Embeddings.__call__`, and its result is added to the
token embeddings. Source: Devlin et al. 2019, figure 2.
"""

import jax

from bertjax.errors import UserError
from bertjax.models import layers
from bertjax.models.config import EncoderConfig


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
  if length > config.positions:
    raise UserError(
      f'length {length} exceeds the {config.positions} positions of the model; '
      'set LENGTH or EncoderConfig.positions'
    )
  return layers.embed(config, config.positions, 'positions', 'position')(
    positions_BL
  )


SCHEMES = {'learned': learned}
