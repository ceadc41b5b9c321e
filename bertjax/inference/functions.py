"""What is computed on a batch at inference, compiled once for each use.

    embed = functions.embed(config, 'mean', normalize=False)
    vectors_BD = embed(params, batch)

Source: pooling, Reimers and Gurevych 2019 (sentence-transformers).
"""

import functools

import jax
import jax.numpy as jnp

from bertjax.models import bert
from bertjax.models.config import EncoderConfig


def _mean(hidden_BLD: jax.Array, real_BL1: jax.Array) -> jax.Array:
  total_BD = jnp.sum(hidden_BLD * real_BL1, axis=1)
  return total_BD / jnp.maximum(jnp.sum(real_BL1, axis=1), 1)


# Of hidden states, float32, and whether a position is real, to float32[B, D].
# [CLS] and [SEP] count, as in sentence-transformers.
POOLINGS = {
    'cls': lambda hidden_BLD, real_BL1: hidden_BLD[:, 0],
    'mean': _mean,
    'max': lambda hidden_BLD, real_BL1: jnp.max(
        jnp.where(real_BL1 > 0, hidden_BLD, -jnp.inf), axis=1),
}


@functools.lru_cache(maxsize=8)
def embed(config: EncoderConfig, pooling: str, normalize: bool):
  """Returns (params, batch) -> float32[B, D], of a name in `POOLINGS`."""
  model = bert.Bert(config)

  def function(params, batch):
    hidden_BLD = model.apply({'params': params}, batch, train=False)['hidden']
    real_BL1 = (batch['segments'] > 0).astype(jnp.float32)[..., None]
    pooled_BD = POOLINGS[pooling](hidden_BLD.astype(jnp.float32), real_BL1)
    if normalize:
      norm_B1 = jnp.linalg.norm(pooled_BD, axis=-1, keepdims=True)
      pooled_BD /= jnp.maximum(norm_B1, 1e-12)
    return pooled_BD

  return jax.jit(function)


@functools.lru_cache(maxsize=8)
def fill_mask(config: EncoderConfig, known: int, top_k: int):
  """Returns (params, batch) -> probabilities and ids of the likeliest tokens.

  Both [B, top_k], at the first of `target_positions`, among the first `known`
  tokens: rows of the table beyond the vocabulary are padding.
  """
  model = bert.BertForPreTraining(config, next_sentence=False)

  def function(params, batch):
    logits_BPV = model.apply(
        {'params': params}, batch, train=False)['mlm_logits']
    probabilities_BV = jax.nn.softmax(logits_BPV[:, 0, :known])
    return tuple(jax.lax.top_k(probabilities_BV, top_k))

  return jax.jit(function)


@functools.lru_cache(maxsize=8)
def task_logits(
    config: EncoderConfig, head: str, classes: int, out_shardings=None
):
  """Returns (params, batch) -> float32[B, C] of a classifier, else [B, L, C].

  Args:
    config: the architecture.
    head: a name in `models.bert.TASK_HEADS`.
    classes: C.
    out_shardings: of the logits, on a mesh that the arguments are placed on.
  """
  model = bert.BertForTask(config, head, classes)

  def function(params, batch):
    logits = model.apply({'params': params}, batch, train=False)['logits']
    return logits[:, 0] if head == 'classifier' else logits

  return jax.jit(function, out_shardings=out_shardings)
