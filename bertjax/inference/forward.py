"""The forward passes of inference, each compiled once.

embed = forward.embed(config, 'mean', normalize=False)
vectors_BSD = embed(parameters, batch)
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.batch import Batch
from bertjax.errors import choose
from bertjax.models import bert, poolings
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning

Function = Callable[[Any, Batch], Any]  # of parameters and a batch


@functools.lru_cache(maxsize=8)
def embed(config: EncoderConfig, pooling: str, normalize: bool) -> Function:
  """Returns (parameters, batch) -> float32[B, S, D]; see `poolings`.

  Raises:
    UserError: there is no such pooling.
  """
  pool = choose(poolings.POOLINGS, pooling, 'POOLING')

  def vectors(outputs, batch):
    first_BS = batch['first_positions']
    member_BSL = poolings.members(batch)
    hidden_BLD = outputs['hidden'].astype(jnp.float32)
    pooled_BSD = pool(hidden_BLD, first_BS, member_BSL)
    if normalize:
      norm_BS1 = jnp.linalg.norm(pooled_BSD, axis=-1, keepdims=True)
      pooled_BSD /= jnp.maximum(norm_BS1, 1e-12)
    return pooled_BSD

  return _compile(bert.Bert(config), vectors)


@functools.lru_cache(maxsize=8)
def fill_mask(config: EncoderConfig, known: int, top_k: int) -> Function:
  """Returns (parameters, batch) -> probabilities, ids of the likeliest tokens.

  Both are [B, S, top_k], at `target_positions`, among the first `known` tokens;
  rows of the table beyond the vocabulary are padding.
  """

  def likeliest(outputs, batch):
    probabilities_BPV = jax.nn.softmax(outputs['mlm_logits'][..., :known])
    return jax.lax.top_k(probabilities_BPV, top_k)

  return _compile(
    bert.BertForPreTraining(config, next_sentence=False), likeliest
  )


@functools.lru_cache(maxsize=8)
def task_logits(
  config: EncoderConfig, head: str, classes: int, mesh: Mesh | None = None
) -> Function:
  """Returns (parameters, batch) -> float32, see `models.bert.BertForTask`.

  Args:
    config: the architecture.
    head: a name in `models.bert.TASK_HEADS`.
    classes: C.
    mesh: holds the parameters; its devices share the rows of a batch, which
      every process has as a whole. None: one device.
  """

  def logits(outputs, batch):
    return outputs['logits']

  model = bert.BertForTask(config, head, classes)
  if mesh is None:
    return _compile(model, logits)
  whole = NamedSharding(mesh, PartitionSpec())
  function = _compile(model, logits, out_shardings=whole)
  return lambda parameters, batch: function(
    parameters, partitioning.place(batch, mesh)
  )


def _compile(
  model: nn.Module, finish: Callable[[Any, Any], Any], **options: Any
) -> Function:
  """Returns (parameters, batch) -> finish(the model's outputs, batch)."""

  def function(parameters, batch):
    outputs = model.apply({'params': parameters}, batch, train=False)
    return finish(outputs, batch)

  return jax.jit(function, **options)
