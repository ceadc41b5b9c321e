"""The inner product of attention, behind one signature: a table by name.

    context_BLHK = kernels.KERNELS['einsum'](
        query_BLHK, key_BMHK, value_BMHK, mask_B1LM, dropout)

Source: Vaswani et al. 2017, section 3.2.1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

# A finite stand-in for minus infinity: its softmax weight is exactly 0 beside
# any real score, and a row with no valid key gives uniform weights, not NaN.
MASKED_SCORE = -1e30


def einsum(
    query_BLHK: jax.Array,
    key_BMHK: jax.Array,
    value_BMHK: jax.Array,
    mask_B1LM: jax.Array,
    dropout: Callable[[jax.Array], jax.Array],
) -> jax.Array:
  """Attention with its L x M weights in memory; the reference for the others.

  Args:
    query_BLHK: float[B, L, H, K].
    key_BMHK: float[B, M, H, K].
    value_BMHK: float[B, M, H, K].
    mask_B1LM: bool[B, 1 or H, L, M], whether a query may attend to a key.
    dropout: applied to the weights, float[B, H, L, M].

  Returns:
    float[B, L, H, K] of the query's dtype; scores and softmax are float32.
  """
  dtype = query_BLHK.dtype
  query_BLHK = query_BLHK * (query_BLHK.shape[-1] ** -0.5)
  scores_BHLM = jnp.einsum('BLHK,BMHK->BHLM', query_BLHK, key_BMHK,
                           preferred_element_type=jnp.float32)
  scores_BHLM = jnp.where(mask_B1LM, scores_BHLM, MASKED_SCORE)
  weights_BHLM = jax.nn.softmax(scores_BHLM).astype(dtype)
  return jnp.einsum('BHLM,BMHK->BLHK', dropout(weights_BHLM), value_BMHK)


KERNELS = {'einsum': einsum}
