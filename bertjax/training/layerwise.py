"""Learning rates that fall towards the input, frozen layers, fresh layers.

    >>> optimizer = scale(optax.sgd(1.0), layers=2, decay=0.5)
    >>> loaded = {'embeddings': 1, 'encoder': {'layer_00': 2, 'layer_01': 3}}
    >>> updates, _ = optimizer.update(loaded, optimizer.init(loaded))
    >>> jax.tree.map(float, updates)['encoder']
    {'layer_00': -0.5, 'layer_01': -1.5}
    >>> without_top(loaded, layers=2, count=1)
    {'embeddings': 1, 'encoder': {'layer_00': 2}}

Source: the decay, Howard and Ruder 2018 (ULMFiT), section 3.2, with the depths
of Clark et al. 2020 (ELECTRA) except that the topmost layer is one step below
the head, as in Bao et al. 2022 (BEiT); fresh top layers, Zhang et al. 2021,
section 5.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bertjax.errors import expect


def scale(
  optimizer: optax.GradientTransformation,
  layers: int,
  decay: float = 1.0,
  frozen: int | None = None,
) -> optax.GradientTransformation:
  """Scales the optimizer's updates layer by layer.

  Args:
    optimizer: its updates include the learning rate.
    layers: N of the model.
    decay: the head and the pooler move at the full rate, layer i at
      decay ** (N - i), the embeddings at decay ** (N + 1).
    frozen: the embeddings and this many of the lowest layers do not move, and
      their gradients do not count in the norm that is clipped; 0: the
      embeddings alone, None: nothing.

  Raises:
    UserError: `decay` or `frozen` is out of range.
  """
  share = 'a decay above 0 and at most 1'
  expect(0.0 < decay <= 1.0, share, decay, 'LAYER_DECAY')
  valid = frozen is None or 0 <= frozen <= layers
  expect(valid, f'0 to {layers} frozen layers', frozen, 'FROZEN_LAYERS')
  if decay == 1.0 and frozen is None:
    return optimizer

  def freeze(path, x):
    is_frozen = frozen is not None and _depth(path, layers) <= frozen
    return jnp.zeros_like(x) if is_frozen else x

  def slow(path, x):
    return x * decay ** (layers + 1 - _depth(path, layers))

  # Frozen twice: weight decay moves parameters even without a gradient.
  return optax.chain(_each(freeze), optimizer, _each(slow), _each(freeze))


def _each(
  change: Callable[[tuple[Any, ...], jax.Array], jax.Array],
) -> optax.GradientTransformation:
  """Returns what applies a function of path and update to each update."""
  return optax.stateless(
    lambda updates, _: jax.tree_util.tree_map_with_path(change, updates)
  )


def without_top(
  loaded: Mapping[str, Any], layers: int, count: int
) -> Mapping[str, Any]:
  """Leaves out the topmost `count` layers and what pools, to be made anew.

  That is the pooler or, where heads share it, the head of predictions.

  Raises:
    UserError: `count` is out of range.
  """
  valid = 0 <= count <= layers
  expect(valid, f'0 to {layers} fresh layers', count, 'FRESH_LAYERS')
  if not count:
    return loaded
  dropped = {f'layer_{i:02}' for i in range(layers - count, layers)}
  encoder = {k: v for k, v in loaded['encoder'].items() if k not in dropped}
  above = {'encoder', 'pooler', 'prediction_head'}
  rest = {k: v for k, v in loaded.items() if k not in above}
  return rest | {'encoder': encoder}


def _depth(path: tuple[Any, ...], layers: int) -> int:
  """0 for the embeddings, i + 1 for layer i, N + 1 for what is above."""
  names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
  if names[0] == 'embeddings':
    return 0
  number = names[1].removeprefix('layer_') if names[0] == 'encoder' else ''
  return int(number) + 1 if number.isdigit() else layers + 1
