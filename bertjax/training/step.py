"""One step of training and one of evaluation, as pure functions to jit.

    step = step.compile_train_step(objective, optimizer, mesh, abstract_state)
    state, terms = step(state, batch, jax.random.key(seed))

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
from bertjax.training.objectives import DeviceBatch, Objective, Terms
from bertjax.training.state import Parameters, TrainState

Gather = Callable[[Parameters], Parameters]


def loss_and_terms(
  parameters: Parameters,
  batch: DeviceBatch,
  rng: jax.Array,
  weights: dict[str, jax.Array],
  objective: Objective,
  gather: Gather,
) -> tuple[jax.Array, Terms]:
  """Returns the loss to differentiate, and the terms it is made of.

  `weights` are those of the whole global batch even if `batch` is a part of it:
  the losses of the parts then add up to that of the whole. `gather` runs in
  here, so that its gradient splits again what it put together.
  """
  parameters = gather(parameters)
  terms = objective(parameters, batch, rng, train=True)
  loss: Any = sum(
    terms[name][0] / jnp.maximum(weight, 1.0)
    for name, weight in weights.items()
  )
  return loss, terms


def train_step(
  state: TrainState,
  batch: DeviceBatch,
  rng: jax.Array,
  *,
  objective: Objective,
  optimizer: optax.GradientTransformation,
  accumulation: int = 1,
  gather: Gather = lambda parameters: parameters,
) -> tuple[TrainState, Terms]:
  """Makes one update.

  Args:
    state: before the update.
    batch: the global batch, see `bertjax.batch`.
    rng: key of the run; the step's own key is folded from it.
    objective: gives sums and weights, see `objectives`.
    optimizer: optax transformation.
    accumulation: number of equal parts that the batch is worked through in,
      one after the other; divides B.
    gather: places parameters for the objective, see `rules.gather`.

  Returns:
    the state after the update, and (sum, weight) of each of the objective's
    terms and of `grad_norm`, the gradient's global norm before clipping.
  """
  rng = jax.random.fold_in(rng, state.step)
  weights = objective.weights(batch)
  gradient_of = jax.value_and_grad(loss_and_terms, has_aux=True)

  if accumulation == 1:
    (_, terms), gradients = gradient_of(
      state.parameters, batch, rng, weights, objective, gather
    )
  else:
    # Row r goes to part r % accumulation: every device keeps its own rows.
    parts = jax.tree.map(
      lambda x: x.reshape(-1, accumulation, *x.shape[1:]).swapaxes(0, 1),
      batch,
    )

    def add_part(total, part_and_number):
      part, number = part_and_number
      (_, terms), gradients = gradient_of(
        state.parameters,
        part,
        jax.random.fold_in(rng, number),
        weights,
        objective,
        gather,
      )
      return jax.tree.map(jnp.add, total, (terms, gradients)), None

    first = jax.tree.map(lambda x: x[0], parts)
    (_, terms), gradients = jax.eval_shape(
      lambda: gradient_of(
        state.parameters, first, rng, weights, objective, gather
      )
    )
    zeros = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), (terms, gradients)
    )
    (terms, gradients), _ = jax.lax.scan(
      add_part, zeros, (parts, jnp.arange(accumulation))
    )

  updates, optimizer_state = optimizer.update(
    gradients, state.optimizer_state, state.parameters
  )
  parameters = optax.apply_updates(state.parameters, updates)
  terms['grad_norm'] = (optax.tree.norm(gradients), jnp.ones(()))
  return TrainState(state.step + 1, parameters, optimizer_state), terms


def evaluation_step(
  parameters: Parameters, batch: DeviceBatch, *, objective: Objective
) -> Terms:
  """Returns (sum, weight) of the objective's terms, with dropout off."""
  return objective(parameters, batch, None, train=False)


def compile_train_step(
  objective: Objective,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  abstract_state: TrainState,
  accumulation: int = 1,
) -> jax.stages.Wrapped:
  """Jits `train_step` for a mesh; it donates the state that it is given.

  Equal arguments give the same function, so runs that differ only in their seed
  compile it once.
  """
  shardings, structure = jax.tree.flatten(
    jax.tree.map(lambda leaf: leaf.sharding, abstract_state)
  )
  return _compile_train_step(
    objective, optimizer, mesh, tuple(shardings), structure, accumulation
  )


@functools.lru_cache(maxsize=4)
def _compile_train_step(
  objective: Objective,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  shardings: tuple[NamedSharding, ...],
  structure: jax.tree_util.PyTreeDef,
  accumulation: int,
) -> jax.stages.Wrapped:
  state_shardings = jax.tree.unflatten(structure, shardings)
  replicated = NamedSharding(mesh, PartitionSpec())

  def placed_step(state, batch, rng):
    with rules.placing(mesh):
      return train_step(
        state,
        batch,
        rng,
        objective=objective,
        optimizer=optimizer,
        accumulation=accumulation,
        gather=functools.partial(
          rules.gather, shardings=state_shardings.parameters
        ),
      )

  return jax.jit(
    placed_step,
    in_shardings=(
      state_shardings,
      partitioning.batch_sharding(mesh),
      replicated,
    ),
    out_shardings=(state_shardings, replicated),
    donate_argnums=0,
  )


def compile_evaluation_step(
  objective: Objective, mesh: Mesh, abstract_state: TrainState
) -> jax.stages.Wrapped:
  """Jits `evaluation_step` for a mesh."""
  shardings = jax.tree.map(
    lambda leaf: leaf.sharding, abstract_state.parameters
  )

  def placed_step(parameters, batch):
    with rules.placing(mesh):
      return evaluation_step(
        rules.gather(parameters, shardings), batch, objective=objective
      )

  return jax.jit(
    placed_step,
    in_shardings=(shardings, partitioning.batch_sharding(mesh)),
    out_shardings=NamedSharding(mesh, PartitionSpec()),
  )
