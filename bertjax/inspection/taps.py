"""The named intermediates of a model: listed, collected, differentiated.

    taps.names(model, batch)  # {'embeddings': ShapeDtypeStruct(...), ...}
    found = taps.collect(
        model, parameters, batch, ['layer_*/attention/weights'])
    found['encoder/layer_00/attention/weights']       # float[B, H, L, M]
    taps.stack(found, 'layer_*/attention/weights')    # float[N, B, H, L, M]

An intermediate that a submodule returns is named by the submodule's path, as
parameters are; `models.layers.Tap` names any other, and outputs of the model
keep their names. Layer i has these, with `encoder/layer_0i/` before each:

  attention/query, key, value  [B, L, H, K], before their norm and rotation
  attention/query_norm, key_norm
                               [B, L, H, K], with `query_key_norm`
  attention/weights            [B, H, L, M], probabilities of attending to M
  attention/context            [B, L, H, K], the output of each head
  attention                    [B, L, D], before dropout, residual and norm
  attention_norm               [B, L, D], after residual and norm
  feed_forward/input           [B, L, F], before the activation
  feed_forward/activation      [B, L, F], what is projected back to D
  feed_forward                 [B, L, D], before dropout, residual and norm
  feed_forward_norm            [B, L, D], after residual and norm

and `encoder/layer_0i` itself is its hidden state, `encoder` the last one. With
`block_order` 'pre', `attention_norm` and `feed_forward_norm` are what the
sublayer reads, the first one is missing from layer 0 without `first_norm`, and
`encoder/final_norm` is the last hidden state. A gated feed-forward has
`feed_forward/gate` [B, L, F], before the activation; its `input` is multiplied
by that, and `activation` is their product. With `shared_head`,
`prediction_head` is [B, P, D] in front of the masked-LM head, and [B, S, D] or
[B, L, D] in front of a task's; otherwise `mlm_head/norm` and `pooler` are.

In a pattern, * stands for any characters of one part of a name. Patterns match
from the end: 'attention/weights' matches that of every layer.

What runs is the `written_out` model. Taps cost nothing in training: flax's
`intercept_methods` reads the modules' calls only while a program of this module
is traced.
"""

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bertjax.batch import Batch
from bertjax.errors import UserError, did_you_mean
from bertjax.models import layers
from bertjax.training.objectives import MaskedLanguageModel
from bertjax.training.state import Parameters
from bertjax.training.task_objective import TaskObjective

Arrays = dict[str, jax.Array]


def written_out(model: nn.Module) -> nn.Module:
  """Returns a model with the same parameters and every intermediate in memory.

  Its layers are unrolled, nothing is recomputed, and attention uses the
  'einsum' kernel, since 'splash' and 'dot_product' never have the weights in
  memory. The results are the same but for rounding.
  """
  return model.clone(
    config=dataclasses.replace(
      model.config,
      attention_kernel='einsum',
      scan_layers=False,
      recompute='nothing',
    )
  )


def names(model: nn.Module, batch: Batch) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the name, shape and dtype of every tap; computes nothing.

  Args:
    model: of `models.bert`.
    batch: the model's arrays or their shapes.
  """
  parameters = jax.eval_shape(
    lambda x: nn.unbox(model.init(jax.random.key(0), x, train=False)),
    dict(batch),
  )['params']
  return _collect.eval_shape(
    written_out(model), ('*',), parameters, dict(batch)
  )


def collect(
  model: nn.Module,
  parameters: Parameters,
  batch: Batch,
  names: Sequence[str] = ('*',),
) -> Arrays:
  """Runs the model without dropout and returns its intermediates.

  Args:
    model: of `models.bert`.
    parameters: of the model; those of further heads are ignored.
    batch: see `bertjax.batch`.
    names: patterns, see above. Other intermediates are not kept in memory.

  Returns:
    name -> array, in the dtype that the model computes it in.

  Raises:
    UserError: a pattern matches nothing.
  """
  if isinstance(names, str):
    raise UserError(f'expected a list of patterns, got {names!r}')
  return _collect(written_out(model), tuple(names), parameters, dict(batch))


def collect_with_gradients(
  objective: MaskedLanguageModel | TaskObjective,
  parameters: Parameters,
  batch: Batch,
  names: Sequence[str],
) -> tuple[Arrays, Arrays]:
  """Returns taps, and the gradient of the summed loss with respect to each.

  The loss is the sum over the batch, not the mean, so the gradient at a
  sequence is that of the sequence's own loss.

  Args:
    objective: has the model.
    parameters: of the model.
    batch: see `bertjax.batch`.
    names: patterns, see above, of intermediates that submodules return.

  Raises:
    UserError: a pattern matches nothing.
  """
  objective = dataclasses.replace(objective, model=written_out(objective.model))
  return _differentiate(objective, tuple(names), parameters, dict(batch))


def stack(found: Mapping[str, jax.Array], pattern: str) -> jax.Array:
  """Returns the taps that match a pattern, layer by layer: [N, ...].

      >>> found = {f'layer_{i}/x': jnp.array(i) for i in (10, 2)}
      >>> stack(found, 'layer_*/x').tolist()
      [2, 10]

  Raises:
    UserError: there are none.
  """
  # As numbers, not text: layer_100 comes after layer_99.
  layer_by_layer = sorted(
    _chosen(found, (pattern,)).items(),
    key=lambda item: [int(n) for n in re.findall(r'\d+', item[0])],
  )
  return jnp.stack([array for _, array in layer_by_layer])


@jax.jit(static_argnums=(0, 1))
def _collect(
  model: nn.Module,
  patterns: tuple[str, ...],
  parameters: Parameters,
  batch: Arrays,
) -> Arrays:
  with _tapped({}) as found:
    outputs: Any = model.apply({'params': parameters}, batch, train=False)
  return _chosen({**found, **outputs}, patterns)


@jax.jit(static_argnums=(0, 1))
def _differentiate(
  objective: MaskedLanguageModel | TaskObjective,
  patterns: tuple[str, ...],
  parameters: Parameters,
  batch: Arrays,
) -> tuple[Arrays, Arrays]:
  def loss(added):
    with _tapped(added) as found:
      terms: Any = objective(parameters, batch, None, train=False)
    total = sum(terms[name][0] for name in objective.weights(batch))
    return total, _chosen(found, patterns)

  _, shapes = jax.eval_shape(loss, {})
  # The gradient of a zero that is added is that of the intermediate.
  zeros = jax.tree.map(jnp.zeros_like, shapes)
  gradients, found = jax.grad(loss, has_aux=True)(zeros)
  return found, gradients


@contextlib.contextmanager
def _tapped(added: Mapping[str, jax.Array]) -> Iterator[Arrays]:
  """Collects what modules return, after it adds `added` to it."""
  found: Arrays = {}

  def tap(
    call: Callable[..., Any],
    args: tuple,
    kwargs: dict[str, Any],
    context: nn.module.InterceptorContext,
  ) -> Any:
    output = call(*args, **kwargs)
    name = '/'.join(context.module.path)
    # Not a tap: the model itself, and dropout, which returns its input.
    if (
      context.method_name != '__call__'
      or not name
      or isinstance(context.module, layers.Dropout)
    ):
      return output
    # The embeddings come in a tuple with the token table, a parameter.
    array, *rest = output if isinstance(output, tuple) else (output,)
    if name in added:
      array += added[name]
    found[name] = array
    return (array, *rest) if rest else array

  with nn.intercept_methods(tap):
    yield found


def _chosen(found: Mapping[str, jax.Array], patterns: Sequence[str]) -> Arrays:
  """Returns the taps that match one of the patterns.

  Raises:
    UserError: a pattern matches nothing.
  """
  chosen: Arrays = {}
  for pattern in patterns:
    matching = {
      name: array
      for name, array in found.items()
      if pathlib.PurePosixPath(name).match(pattern)
    }
    if not matching:
      known = {re.sub(r'^encoder/layer_\d+', 'layer_*', name) for name in found}
      near = did_you_mean(pattern, sorted(known.union(found)), cutoff=0)
      raise UserError(f'no tap matches {pattern!r}{near}')
    chosen |= matching
  return chosen
