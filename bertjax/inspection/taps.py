"""The named intermediates of a model: listed, collected, differentiated by.

    taps.names(model, batch)  # {'embeddings': ShapeDtypeStruct(...), ...}
    found = taps.collect(
        model, parameters, batch, ['layer_*/attention/weights'])
    found['encoder/layer_00/attention/weights']       # float[B, H, L, M]
    taps.stack(found, 'layer_*/attention/weights')    # float[N, B, H, L, M]

What a submodule returns has the name of the submodule's path, as its parameters
have; `models.layers.Tap` gives a name to what is no submodule's, and what the
model returns has the name that it is returned under. Of layer i, with
`encoder/layer_0i/` before each:

  attention/query, key, value  [B, L, H, K]
  attention/weights            [B, H, L, M], probabilities of attending to M
  attention/context            [B, L, H, K], what each head brings along
  attention, attention_norm    [B, L, D], before and after residual and norm
  feed_forward/input           [B, L, F], before the activation
  feed_forward/activation      [B, L, F], after it
  feed_forward                 [B, L, D], before residual and norm

and `encoder/layer_0i` itself is its hidden state, `encoder` the last one.

A pattern's * stands for any characters of one part of a name, and a pattern
matches from the end: 'attention/weights' is that of every layer.

The model that is run is `written_out`. A model that nobody looks at knows
nothing of this: flax's `intercept_methods` looks at the modules' calls while a
program is traced, and the program of training is the same with and without.
Source: ours.
"""

import contextlib
import dataclasses
import difflib
import functools
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from bertjax.batch import Batch
from bertjax.errors import UserError
from bertjax.models import layers

Arrays = dict[str, jax.Array]


def written_out(model: nn.Module) -> nn.Module:
  """Returns the same model, of the same parameters, with all there is to see.

  Its layers stand one after the other instead of in a loop, nothing is computed
  twice, and attention is the 'einsum' kernel: 'splash' and 'dot_product' never
  have the weights in memory; what they compute is the same but for rounding.
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
    batch: arrays or their shapes, as the model takes them.
  """
  parameters = jax.eval_shape(
    lambda x: nn.unbox(model.init(jax.random.key(0), x, train=False)),
    dict(batch),
  )['params']
  return jax.eval_shape(
    _collector(written_out(model), ('*',)), parameters, dict(batch)
  )


def collect(
  model: nn.Module, parameters, batch: Batch, names: Sequence[str] = ('*',)
) -> Arrays:
  """Runs the model, without dropout, and returns what it computes on the way.

  Args:
    model: of `models.bert`.
    parameters: of the model; further heads may be there.
    batch: as the model takes it.
    names: patterns, see above. What none asks for is not kept in memory.

  Returns:
    name -> array, in the dtype that the model computes it in.

  Raises:
    UserError: a pattern that matches nothing.
  """
  if isinstance(names, str):
    raise UserError(f'expected a list of patterns, got {names!r}')
  return _collector(written_out(model), tuple(names))(parameters, dict(batch))


def collect_with_gradients(
  objective, parameters, batch: Batch, names: Sequence[str]
) -> tuple[Arrays, Arrays]:
  """Returns taps, and the gradient of the summed loss by each of them.

  The loss is the sum, not the mean, over the batch: the part of the gradient
  that belongs to a sequence is that of its own loss.

  Args:
    objective: of `training.objectives`; holds the model.
    parameters: of the model.
    batch: as the objective takes it.
    names: patterns, see above, of what submodules return.

  Raises:
    UserError: a pattern that matches nothing.
  """
  objective = dataclasses.replace(objective, model=written_out(objective.model))
  return _differentiator(objective, tuple(names))(parameters, dict(batch))


def stack(found: Mapping[str, jax.Array], pattern: str) -> jax.Array:
  """Returns the taps that a pattern matches, layer by layer: [N, ...].

  Raises:
    UserError: there are none.
  """
  chosen = [name for name in found if _matches(name, pattern)]
  if not chosen:
    raise UserError(_unknown(pattern, found))
  # Not as texts: layer_100 comes after layer_99.
  chosen.sort(key=lambda name: [int(n) for n in re.findall(r'\d+', name)])
  return jnp.stack([found[name] for name in chosen])


@functools.lru_cache(maxsize=8)
def _collector(model: nn.Module, patterns: tuple[str, ...]):
  """Returns (parameters, batch) -> name -> array, compiled once a shape."""

  def function(parameters, batch):
    with _looking(patterns) as found:
      outputs = model.apply({'params': parameters}, batch, train=False)
      found.update(
        {
          name: array
          for name, array in outputs.items()
          if _matches_any(name, patterns)
        }
      )
    return dict(found)

  return jax.jit(function)


@functools.lru_cache(maxsize=8)
def _differentiator(objective, patterns: tuple[str, ...]):

  def loss(added, parameters, batch):
    with _looking(patterns, added) as found:
      terms = objective(parameters, batch, None, train=False)
    return sum(terms[name][0] for name in objective.weights(batch)), dict(found)

  def function(parameters, batch):
    _, shapes = jax.eval_shape(loss, {}, parameters, batch)
    # Nothing is added; its gradient is that by the intermediate.
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    gradients, found = jax.grad(loss, has_aux=True)(nothing, parameters, batch)
    return found, gradients

  return jax.jit(function)


@contextlib.contextmanager
def _looking(
  patterns: Sequence[str], added: Mapping[str, jax.Array] | None = None
) -> Iterator[Arrays]:
  """Keeps what modules return meanwhile, and adds `added` to it before.

  Raises UserError in the end where a pattern matched nothing.
  """
  found, seen = {}, {}

  def look(call, args, kwargs, context):
    output = call(*args, **kwargs)
    name = '/'.join(context.module.path)
    # The model itself; and dropout, which returns what it was given.
    if (
      context.method_name != '__call__'
      or not name
      or isinstance(context.module, layers.Dropout)
    ):
      return output
    # The embeddings come with the token table, which is a parameter.
    array, *rest = output if isinstance(output, tuple) else (output,)
    seen[name] = array
    if _matches_any(name, patterns):
      if added and name in added:
        array += added[name]
      found[name] = array
    return (array, *rest) if rest else array

  with nn.intercept_methods(look):
    yield found
  for pattern in patterns:
    if not any(_matches(name, pattern) for name in {**seen, **found}):
      raise UserError(_unknown(pattern, seen))


def _matches(name: str, pattern: str) -> bool:
  return pathlib.PurePosixPath(name).match(pattern)


def _matches_any(name: str, patterns: Sequence[str]) -> bool:
  return any(_matches(name, pattern) for pattern in patterns)


def _unknown(pattern: str, known) -> str:
  patterns = {re.sub(r'^encoder/layer_\d+', 'layer_*', name) for name in known}
  near = difflib.get_close_matches(
    pattern, sorted(patterns.union(known)), n=1, cutoff=0
  )
  return f'no tap matches {pattern!r}; ' + (
    f'the nearest is {near[0]!r}' if near else 'there are none'
  )
