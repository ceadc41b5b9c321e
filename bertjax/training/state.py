"""The training state: shapes first, then arrays created on their devices.

    state = state.create(objective, optimizer, batch_shapes, mesh, seed=0)

Source: flax's `TrainState`, without functions inside the pytree.
"""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from bertjax.parallel import rules

if TYPE_CHECKING:
  from bertjax.training.abstract_objective import Objective

# Arrays, nested by name.
Parameters = Mapping[str, Any]


@flax.struct.dataclass
class TrainState:
  """Everything that changes from step to step.

  Attributes:
    step: int32[], the number of updates made.
    parameters: of the objective's models.
    optimizer_state: optax's.
  """

  step: jax.Array
  parameters: Any
  optimizer_state: Any


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def initialize(
  objective: 'Objective',
  optimizer: optax.GradientTransformation,
  shapes: tuple[tuple[str, jax.ShapeDtypeStruct], ...],
  key: jax.Array,
) -> TrainState:
  """Makes the state of step 0, its parameters boxed with their logical axes.

  Jitted, so that shapes and arrays come from one trace.

  Args:
    objective: has the models.
    optimizer: optax transformation.
    shapes: the items of a batch's shapes.
    key: for the parameters.
  """
  example = {name: jnp.zeros(s.shape, s.dtype) for name, s in shapes}
  parameters = objective.initialize(key, example)
  # optax maps over the boxes, so its moments inherit the logical axes.
  return TrainState(
    jnp.zeros((), jnp.int32), parameters, optimizer.init(parameters)
  )


def abstract(
  objective: 'Objective',
  optimizer: optax.GradientTransformation,
  batch_shapes: Mapping[str, jax.ShapeDtypeStruct],
  mesh: Mesh,
) -> TrainState:
  """Returns the state as shapes with shardings; costs no memory.

  Args:
    objective: has the models.
    optimizer: optax transformation.
    batch_shapes: see `batch.shapes`.
    mesh: where the state lives.
  """
  boxed = initialize.eval_shape(
    objective, optimizer, tuple(batch_shapes.items()), jax.random.key(0)
  )
  return _placed(boxed, mesh)


def abstract_frozen(
  objective: 'Objective',
  batch_shapes: Mapping[str, jax.ShapeDtypeStruct],
  mesh: Mesh,
) -> Parameters | None:
  """Returns the frozen parameters as `abstract` does; None without any."""
  return _placed(
    jax.eval_shape(objective.initialize_frozen, dict(batch_shapes)), mesh
  )


def _placed(boxed: Any, mesh: Mesh) -> Any:
  return jax.tree.map(
    lambda leaf, sharding: leaf.update(sharding=sharding),
    nn.meta.unbox(boxed),
    rules.shardings_of(boxed, mesh),
  )


def create(
  objective: 'Objective',
  optimizer: optax.GradientTransformation,
  batch_shapes: Mapping[str, jax.ShapeDtypeStruct],
  mesh: Mesh,
  seed: int,
) -> TrainState:
  """Returns a fresh state, each array created on the devices that hold it."""
  placed = abstract(objective, optimizer, batch_shapes, mesh)
  shapes = tuple(batch_shapes.items())
  return jax.jit(
    lambda key: nn.meta.unbox(initialize(objective, optimizer, shapes, key)),
    out_shardings=jax.tree.map(lambda leaf: leaf.sharding, placed),
  )(jax.random.key(seed))


def count_parameters(parameters: Parameters) -> int:
  """Returns the number of scalars in all of them."""
  return sum(leaf.size for leaf in jax.tree.leaves(parameters))
