"""What is computed on a batch at inference, compiled once for each use.

    embed = functions.embed(config, 'mean', normalize=False)
    vectors_BSD = embed(parameters, batch)

Source: pooling, Reimers and Gurevych 2019 (sentence-transformers).
"""

import functools

import jax
import jax.numpy as jnp

from bertjax.models import bert, heads
from bertjax.models.config import EncoderConfig


def _cls(hidden_BLD, first_BS, member_BSL):
  del member_BSL
  return heads.gather_positions(hidden_BLD, first_BS)


def _mean(hidden_BLD, first_BS, member_BSL):
  del first_BS
  share_BSL = member_BSL / jnp.maximum(
    jnp.sum(member_BSL, axis=-1, keepdims=True), 1
  )
  return jnp.einsum(
    'BSL,BLD->BSD', share_BSL, hidden_BLD, precision=jax.lax.Precision.HIGHEST
  )


def _max(hidden_BLD, first_BS, member_BSL):
  del first_BS
  return jnp.max(
    jnp.where(member_BSL[..., None], hidden_BLD[:, None], -jnp.inf), axis=2
  )


# Of hidden states, float32, where each sequence begins and which positions are
# its own, to float32[B, S, D]. [CLS] and [SEP] count, as in
# sentence-transformers.
POOLINGS = {'cls': _cls, 'mean': _mean, 'max': _max}


@functools.lru_cache(maxsize=8)
def embed(config: EncoderConfig, pooling: str, normalize: bool):
  """Returns (parameters, batch) -> float32[B, S, D]; see `POOLINGS`."""
  model = bert.Bert(config)

  def function(parameters, batch):
    hidden_BLD = model.apply({'params': parameters}, batch, train=False)[
      'hidden'
    ]
    first_BS = batch['first_positions']
    number_S1 = jnp.arange(1, first_BS.shape[1] + 1)[:, None]
    pooled_BSD = POOLINGS[pooling](
      hidden_BLD.astype(jnp.float32),
      first_BS,
      batch['segments'][:, None] == number_S1,
    )
    if normalize:
      norm_BS1 = jnp.linalg.norm(pooled_BSD, axis=-1, keepdims=True)
      pooled_BSD /= jnp.maximum(norm_BS1, 1e-12)
    return pooled_BSD

  return jax.jit(function)


@functools.lru_cache(maxsize=8)
def fill_mask(config: EncoderConfig, known: int, top_k: int):
  """Returns (parameters, batch) -> probabilities, ids of the likeliest tokens.

  Both [B, S, top_k], at `target_positions`, among the first `known` tokens:
  rows of the table beyond the vocabulary are padding.
  """
  model = bert.BertForPreTraining(config, next_sentence=False)

  def function(parameters, batch):
    logits_BPV = model.apply({'params': parameters}, batch, train=False)[
      'mlm_logits'
    ]
    probabilities_BPV = jax.nn.softmax(logits_BPV[..., :known])
    return tuple(jax.lax.top_k(probabilities_BPV, top_k))

  return jax.jit(function)


@functools.lru_cache(maxsize=8)
def task_logits(
  config: EncoderConfig, head: str, classes: int, out_shardings=None
):
  """Returns (parameters, batch) -> float32, see `models.bert.BertForTask`.

  Args:
    config: the architecture.
    head: a name in `models.bert.TASK_HEADS`.
    classes: C.
    out_shardings: of the logits, on a mesh that the arguments are placed on.
  """
  model = bert.BertForTask(config, head, classes)

  def function(parameters, batch):
    return model.apply({'params': parameters}, batch, train=False)['logits']

  return jax.jit(function, out_shardings=out_shardings)
