"""The training state and how it is built: shapes first, arrays in place.

    state = state.create(model, optimizer, example, mesh, seed=0)

Source: flax's `TrainState`, without functions inside the pytree.
"""

import functools
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from bertjax.parallel import rules


@flax.struct.dataclass
class TrainState:
  """All that changes from step to step.

  Attributes:
    step: int32[], the number of updates made.
    parameters: nested dict of arrays.
    optimizer_state: what optax keeps.
  """

  step: jax.Array
  parameters: Any
  optimizer_state: Any


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def initialize(model: nn.Module, optimizer, shapes: tuple, key) -> TrainState:
  """Makes step 0, still boxed; `shapes` are a batch's items.

  Jitted, so that shapes and arrays come from one trace.
  """
  example = {name: jnp.zeros(s.shape, s.dtype) for name, s in shapes}
  parameters = model.init(key, example, train=False)['params']
  # optax maps over the boxes, so its moments inherit the logical axes.
  return TrainState(
    jnp.zeros((), jnp.int32), parameters, optimizer.init(parameters)
  )


def abstract(
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  batch_shapes,
  mesh: Mesh,
) -> TrainState:
  """Returns the state as shapes with shardings; costs no memory.

  Args:
    model: a Linen module called with (batch, train=...).
    optimizer: optax transformation.
    batch_shapes: dict of ShapeDtypeStruct, see `batch.shapes`.
    mesh: where the state lives.
  """
  boxed = initialize.eval_shape(
    model, optimizer, tuple(batch_shapes.items()), jax.random.key(0)
  )
  shardings = rules.shardings_of(boxed, mesh)
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    nn.meta.unbox(boxed),
    shardings,
  )


def create(
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  batch_shapes,
  mesh: Mesh,
  seed: int,
) -> TrainState:
  """Returns a fresh state, every array made on the devices that hold it."""
  shardings = jax.tree.map(
    lambda leaf: leaf.sharding,
    abstract(model, optimizer, batch_shapes, mesh),
  )
  shapes = tuple(batch_shapes.items())
  return jax.jit(
    lambda key: nn.meta.unbox(initialize(model, optimizer, shapes, key)),
    out_shardings=shardings,
  )(jax.random.key(seed))


def count_parameters(state: TrainState) -> int:
  """Returns how many numbers the model has."""
  return sum(leaf.size for leaf in jax.tree.leaves(state.parameters))
