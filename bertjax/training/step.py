"""One step of training and one of evaluation, as pure functions, jitted.

    placed = step.placement(abstract_state)
    step = step.compile_train_step(objective, optimizer, mesh, placed)
    state, terms = step(state, batch, jax.random.key(seed), frozen=None)

Source: flax's `examples/lm1b`, for the shape.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.parallel import partitioning, rules
from bertjax.training.abstract_objective import DeviceBatch, Objective, Terms
from bertjax.training.state import Parameters, TrainState

# Parameters and frozen ones -> the same, placed for use.
Gather = Callable[[Any], Any]
# The structure of (what learns, what is frozen), and the sharding of each leaf.
Placement = tuple[Any, tuple[jax.sharding.Sharding, ...]]


def train_step(
  state: TrainState,
  batch: DeviceBatch,
  rng: jax.Array,
  frozen: Parameters | None = None,
  *,
  objective: Objective,
  optimizer: optax.GradientTransformation,
  accumulation: int = 1,
  gather: Gather = lambda both: both,
) -> tuple[TrainState, Terms]:
  """Makes one update.

  Args:
    state: before the update.
    batch: the global batch, see `bertjax.batch`.
    rng: key of the run; the step's own key is folded from it.
    frozen: the parameters of the objective's `frozen_models`, if it has some.
    objective: gives sums and weights, see `objectives`.
    optimizer: optax transformation.
    accumulation: number of equal parts that the batch is worked through in,
      one after the other; divides B.
    gather: places (parameters, frozen) for the objective, see `rules.gather`.

  Returns:
    the state after the update, and (sum, weight) of each of the objective's
    terms and of `grad_norm`, the gradient's global norm before clipping.
  """
  rng = jax.random.fold_in(rng, state.step)
  # Of the whole batch: the losses of its parts then add up to its own.
  weights = objective.weights(batch)

  @functools.partial(jax.value_and_grad, has_aux=True)
  def gradient_of(parameters, part, part_rng):
    # Gathered in here, so that the gradient splits again what was put together.
    parameters, there = gather((parameters, frozen))
    terms = objective(parameters, part, part_rng, train=True, frozen=there)
    losses = {
      name: terms[name][0] / jnp.maximum(weight, 1.0)
      for name, weight in weights.items()
    }
    return objective.total(losses), terms

  if accumulation == 1:
    (_, terms), gradients = gradient_of(state.parameters, batch, rng)
  else:
    # Row r goes to part r % accumulation: every device keeps its own rows.
    parts = jax.tree.map(
      lambda x: x.reshape(-1, accumulation, *x.shape[1:]).swapaxes(0, 1),
      batch,
    )

    def add_part(total, part_and_number):
      part, number = part_and_number
      part_rng = jax.random.fold_in(rng, number)
      found = gradient_of(state.parameters, part, part_rng)
      return jax.tree.map(jnp.add, total, found), None

    first = jax.tree.map(lambda x: x[0], parts)
    shapes = jax.eval_shape(gradient_of, state.parameters, first, rng)
    ((_, terms), gradients), _ = jax.lax.scan(
      add_part,
      jax.tree.map(jnp.zeros_like, shapes),
      (parts, jnp.arange(accumulation)),
    )

  updates, optimizer_state = optimizer.update(
    gradients, state.optimizer_state, state.parameters
  )
  parameters = optax.apply_updates(state.parameters, updates)
  terms['grad_norm'] = (optax.tree.norm(gradients), jnp.ones(()))
  return TrainState(state.step + 1, parameters, optimizer_state), terms


def placement(learning: Any, frozen: Parameters | None = None) -> Placement:
  """Returns the shardings of what learns and of what is frozen, hashable.

  Args:
    learning: a state or parameters; arrays, or shapes of `state.abstract`.
    frozen: placed, or the shapes of `state.abstract_frozen`.
  """
  leaves, structure = jax.tree.flatten((learning, frozen))
  return structure, tuple(leaf.sharding for leaf in leaves)


@functools.lru_cache(maxsize=4)
def compile_train_step(
  objective: Objective,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  placed: Placement,
  accumulation: int = 1,
) -> jax.stages.Wrapped:
  """Jits `train_step` for a mesh; it donates the state that it is given.

  Equal arguments give the same function, so runs that differ only in their seed
  compile it once. `placed` is the `placement` of the state.
  """
  of_state, of_frozen = jax.tree.unflatten(*placed)
  replicated = NamedSharding(mesh, PartitionSpec())

  def placed_step(state, batch, rng, frozen):
    with rules.placing(mesh):
      return train_step(
        state,
        batch,
        rng,
        frozen,
        objective=objective,
        optimizer=optimizer,
        accumulation=accumulation,
        gather=functools.partial(
          rules.gather, shardings=(of_state.parameters, of_frozen)
        ),
      )

  return jax.jit(
    placed_step,
    in_shardings=(
      of_state,
      partitioning.batch_sharding(mesh),
      replicated,
      of_frozen,
    ),
    out_shardings=(of_state, replicated),
    donate_argnums=0,
  )


@functools.lru_cache(maxsize=4)
def compile_evaluation_step(
  objective: Objective, mesh: Mesh, placed: Placement
) -> jax.stages.Wrapped:
  """Jits the objective without dropout; `placed`: that of parameters."""
  both = jax.tree.unflatten(*placed)

  def placed_step(parameters, batch, frozen):
    with rules.placing(mesh):
      parameters, frozen = rules.gather((parameters, frozen), both)
      return objective(parameters, batch, None, train=False, frozen=frozen)

  return jax.jit(
    placed_step,
    in_shardings=(both[0], partitioning.batch_sharding(mesh), both[1]),
    out_shardings=NamedSharding(mesh, PartitionSpec()),
  )
