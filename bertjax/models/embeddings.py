"""The sum of token, position and type embeddings, then norm and dropout.

    hidden_BLD, token_table_VD = Embeddings(config, name='embeddings')(
        batch, train=False)

Source: Devlin et al. 2019, figure 2; google-research/bert `modeling.py`
(`embedding_postprocessor`).
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from bertjax.models import layers
from bertjax.models.config import EncoderConfig
from bertjax.models.positions import SCHEMES

Arrays = Mapping[str, Array]  # of a batch, see `bertjax.batch`


class Embeddings(nn.Module):
  """Gives the input of the first layer."""

  config: EncoderConfig

  @nn.compact
  def __call__(self, batch: Arrays, train: bool) -> tuple[Array, Array]:
    """Embeds a batch.

    Args:
      batch: `tokens`, below V, `types`, below T if T is 2 or more, and
        `positions`: int32[B, L].
      train: whether dropout is on.

    Returns:
      compute_dtype[B, L, D], and the token table,
      param_dtype[vocabulary_rows, D], for the masked-LM head's tied decoder.
    """
    config = self.config
    # Look up first, then round: rounding the table is a pass over all of it,
    # and XLA would make one for the lookup and the decoder together.
    rows, dtype = config.vocabulary_rows, config.param_dtype
    token = layers.embed(config, rows, 'vocabulary', 'token', dtype)
    embed_positions = config.choose(SCHEMES, 'position_scheme').embed
    hidden_BLD = token(batch['tokens']).astype(config.compute_dtype)
    if embed_positions is not None:
      hidden_BLD += embed_positions(config, batch['positions'])
    if config.types:
      types = layers.embed(config, config.types, 'types', 'type')
      one_type = config.types == 1
      given = batch['types']
      hidden_BLD += types(jnp.zeros_like(given) if one_type else given)
    if config.embedding_norm:
      hidden_BLD = layers.norm(config, 'norm')(hidden_BLD)
    drop = layers.Dropout(config.dropout, name='dropout')
    return drop(hidden_BLD, train), token.embedding
