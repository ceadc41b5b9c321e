"""One vector for each sequence: a table of poolings by name.

    >>> hidden_BLD = jnp.array([[[1.0], [5.0], [9.0]]])
    >>> own_BSL = jnp.array([[[True, True, False]]])
    >>> POOLINGS['max'](hidden_BLD, None, own_BSL).tolist()
    [[[5.0]]]

Source: Reimers and Gurevych 2019 (sentence-transformers).
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from bertjax.models import heads


def members(batch: Mapping[str, Array]) -> Array:
  """Returns which positions belong to each sequence of a batch: bool[B, S, L].

  Args:
    batch: `segments`, int32[B, L], and `first_positions`, int32[B, S].
  """
  number_S1 = jnp.arange(1, batch['first_positions'].shape[1] + 1)[:, None]
  return batch['segments'][:, None] == number_S1


def _cls(hidden_BLD: Array, first_BS: Array, member_BSL: Array) -> Array:
  return heads.gather_positions(hidden_BLD, first_BS)


def _mean(hidden_BLD: Array, first_BS: Array, member_BSL: Array) -> Array:
  counts_BS1 = jnp.sum(member_BSL, axis=-1, keepdims=True)
  share_BSL = member_BSL / jnp.maximum(counts_BS1, 1)
  return jnp.matmul(share_BSL, hidden_BLD, precision='highest')


def _max(hidden_BLD: Array, first_BS: Array, member_BSL: Array) -> Array:
  own_BSLD = jnp.where(member_BSL[..., None], hidden_BLD[:, None], -jnp.inf)
  # 0 for no sequence, whose loss has the weight 0: it must not be NaN.
  is_any_BS1 = jnp.any(member_BSL, axis=-1, keepdims=True)
  return jnp.where(is_any_BS1, jnp.max(own_BSLD, axis=2), 0)


# (hidden states, float32[B, L, D]; the first position of each sequence,
# int32[B, S]; which positions belong to it, bool[B, S, L]) -> float32[B, S, D].
# [CLS] and [SEP] count, as in sentence-transformers.
POOLINGS = {'cls': _cls, 'mean': _mean, 'max': _max}
