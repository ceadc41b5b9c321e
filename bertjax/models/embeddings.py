"""The sum of token, position and type embeddings, then norm and dropout.

    hidden_BLD, token_table_VD = Embeddings(config, name='embeddings')(
        tokens_BL, types_BL, positions_BL, train=False)

Source: Devlin et al. 2019, figure 2; google-research/bert `modeling.py`
(`embedding_postprocessor`).
"""

import flax.linen as nn
import jax

from bertjax.models import layers
from bertjax.models.config import EncoderConfig
from bertjax.models.positions import SCHEMES


class Embeddings(nn.Module):
  """Gives the input of the first layer."""

  config: EncoderConfig

  @nn.compact
  def __call__(
    self,
    tokens_BL: jax.Array,
    types_BL: jax.Array,
    positions_BL: jax.Array,
    train: bool,
  ) -> tuple[jax.Array, jax.Array]:
    """Embeds a batch.

    Args:
      tokens_BL: int32[B, L], 0 <= token < V.
      types_BL: int32[B, L], 0 <= type < T.
      positions_BL: int32[B, L], from 0 in every sequence.
      train: whether dropout is on.

    Returns:
      compute_dtype[B, L, D], and the token table,
      param_dtype[vocabulary_rows, D], for the masked-LM head's tied decoder.
    """
    config = self.config
    # Look up first, then round: rounding the table is a pass over all of it,
    # and XLA would make one for the lookup and the decoder together.
    token = layers.embed(
      config,
      config.vocabulary_rows,
      'vocabulary',
      'token',
      dtype=config.param_dtype,
    )
    embed_positions = config.choose(SCHEMES, 'position_scheme').embed
    hidden_BLD = token(tokens_BL).astype(config.compute_dtype)
    if embed_positions is not None:
      hidden_BLD += embed_positions(config, positions_BL)
    hidden_BLD += layers.embed(config, config.types, 'types', 'type')(types_BL)
    hidden_BLD = layers.norm(config, 'norm')(hidden_BLD)
    drop = layers.Dropout(config.dropout, name='dropout')
    return drop(hidden_BLD, train), token.embedding
