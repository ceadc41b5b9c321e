"""Log-sum-exp and argmax of rows of logits, on a TPU in one pass over them.

    >>> log_normalizer_X, best_X = and_best(jnp.array([[0.0, 3.0, 3.0]]))
    >>> best_X.tolist(), round(float(log_normalizer_X[0]), 3)
    ([1], 3.718)

XLA makes one pass over the logits for the maximum of each row and one for the
sum; with logits for a whole vocabulary each takes longer than the product that
makes them. Source: the running sum that is rescaled as the maximum grows is
that of Milakov and Gimelshein 2018 (arXiv:1805.02867).
"""

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.parallel import rules


def and_best(logits_XC: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns float32[...] and int32[...] for logits float32[..., C].

  Among equal largest logits the first is the best. Which it is in a row with a
  NaN is not said.
  """
  if rules.platform() == 'tpu':
    return in_one_pass(logits_XC)
  # On a CPU, XLA vectorises no reduction of several arrays: neither the one
  # below nor argmax, which takes as long as the product that makes the logits.
  top_X1 = jax.lax.stop_gradient(logits_XC).max(axis=-1, keepdims=True)
  place_XC = _places(logits_XC)
  best_X = jnp.where(logits_XC == top_X1, place_XC, place_XC.shape[-1]).min(-1)
  return jax.nn.logsumexp(logits_XC, axis=-1), best_X


def _places(logits_XC: jax.Array) -> jax.Array:
  """Returns int32[..., C]: 0 to C - 1."""
  return jax.lax.broadcasted_iota(
    jnp.int32, logits_XC.shape, logits_XC.ndim - 1
  )


@jax.custom_jvp
def in_one_pass(logits_XC: jax.Array) -> tuple[jax.Array, jax.Array]:
  """`and_best` as one reduction of (largest so far, its place, sum)."""

  def join(left, right):
    (left_top, left_place, left_sum) = left
    (right_top, right_place, right_sum) = right
    is_left = (left_top > right_top) | (
      (left_top == right_top) & (left_place < right_place)
    )
    top = jnp.where(is_left, left_top, right_top)
    return (
      top,
      jnp.where(is_left, left_place, right_place),
      left_sum * jnp.exp(left_top - top) + right_sum * jnp.exp(right_top - top),
    )

  # Not minus infinity, whose difference from itself is NaN.
  lowest = jnp.float32(jnp.finfo(jnp.float32).min)
  top_X, best_X, sum_X = jax.lax.reduce(
    (logits_XC, _places(logits_XC), jnp.ones_like(logits_XC)),
    (lowest, jnp.int32(2**31 - 1), jnp.float32(0)),
    join,
    (logits_XC.ndim - 1,),
  )
  return top_X + jnp.log(sum_X), best_X


@in_one_pass.defjvp
def _in_one_pass_jvp(primals, tangents):
  (logits_XC,), (change_XC,) = primals, tangents
  log_normalizer_X, best_X = in_one_pass(logits_XC)
  probability_XC = jnp.exp(logits_XC - log_normalizer_X[..., None])
  return (log_normalizer_X, best_X), (
    jnp.sum(probability_XC * change_XC, axis=-1),
    np.zeros(best_X.shape, jax.dtypes.float0),
  )
