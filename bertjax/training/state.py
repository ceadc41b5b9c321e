"""The training state and how it is built: shapes first, arrays in place.

    state, shardings = state.create(model, optimizer, example, mesh, seed=0)

Source: flax's `TrainState`, without functions inside the pytree.
"""

from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from bertjax import partitioning


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


def initializer(
    model: nn.Module, optimizer: optax.GradientTransformation, example, seed
):
  """Returns a function without arguments that makes step 0, still boxed."""

  def initialize():
    variables = model.init(jax.random.key(seed), example, train=False)
    parameters = variables['params']
    # optax maps over the boxes, so its moments inherit the logical axes.
    return TrainState(
        jnp.zeros((), jnp.int32), parameters, optimizer.init(parameters)
    )

  return initialize


def zeros_like(shapes):
  """Returns a batch of zeros for shapes; enough to initialise a model."""
  return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


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
  boxed = jax.eval_shape(
      initializer(model, optimizer, zeros_like(batch_shapes), seed=0)
  )
  shardings = partitioning.shardings_of(boxed, mesh)
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
  make = initializer(model, optimizer, zeros_like(batch_shapes), seed)
  return jax.jit(
      lambda: nn.meta.unbox(make()), out_shardings=shardings
  )()


def count_parameters(state: TrainState) -> int:
  """Returns how many numbers the model has."""
  return sum(leaf.size for leaf in jax.tree.leaves(state.parameters))
