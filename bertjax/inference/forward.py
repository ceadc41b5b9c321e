"""The forward passes of inference, each compiled once.

embed = forward.embed(config, 'mean', normalize=False)
vectors_BSD = embed(parameters, batch)
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.models import bert
from bertjax.models.config import EncoderConfig
from bertjax.models.poolings import POOLINGS
from bertjax.parallel import partitioning

Batch = Mapping[str, jax.Array | np.ndarray]


@functools.lru_cache(maxsize=8)
def embed(
  config: EncoderConfig, pooling: str, normalize: bool
) -> Callable[[Any, Batch], jax.Array]:
  """Returns (parameters, batch) -> float32[B, S, D]; see `poolings`."""
  model = bert.Bert(config)

  def function(parameters: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
    hidden_BLD = _apply(model, parameters, batch)['hidden']
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
def fill_mask(
  config: EncoderConfig, known: int, top_k: int
) -> Callable[[Any, Batch], tuple[jax.Array, jax.Array]]:
  """Returns (parameters, batch) -> probabilities, ids of the likeliest tokens.

  Both are [B, S, top_k], at `target_positions`, among the first `known` tokens;
  rows of the table beyond the vocabulary are padding.
  """
  model = bert.BertForPreTraining(config, next_sentence=False)

  def function(
    parameters: Any, batch: Mapping[str, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    logits_BPV = _apply(model, parameters, batch)['mlm_logits']
    probabilities_BPV = jax.nn.softmax(logits_BPV[..., :known])
    values, ids = jax.lax.top_k(probabilities_BPV, top_k)
    return values, ids

  return jax.jit(function)


@functools.lru_cache(maxsize=8)
def task_logits(
  config: EncoderConfig,
  head: str,
  classes: int,
  mesh: Mesh | None = None,
) -> Callable[[Any, Batch], jax.Array]:
  """Returns (parameters, batch) -> float32, see `models.bert.BertForTask`.

  Args:
    config: the architecture.
    head: a name in `models.bert.TASK_HEADS`.
    classes: C.
    mesh: holds the parameters; its devices share the rows of a batch, which
      every process has as a whole. None: one device.
  """
  model = bert.BertForTask(config, head, classes)

  def function(parameters: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
    return _apply(model, parameters, batch)['logits']

  if mesh is None:
    return jax.jit(function)
  whole = jax.jit(function, out_shardings=NamedSharding(mesh, PartitionSpec()))
  return lambda parameters, batch: whole(
    parameters, partitioning.place(batch, mesh)
  )


def _apply(
  model: nn.Module, parameters: Any, batch: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
  outputs = model.apply({'params': parameters}, batch, train=False)
  return cast('dict[str, jax.Array]', outputs)
