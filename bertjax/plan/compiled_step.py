"""Compiles the training step of `loop.train` for devices that are absent.

    step = Step(objective, optimizer, batch.shapes(512, 128, 20), mesh)
    program = step.compile()    # jax.stages.Compiled, or a Refusal

What the compiler says if the program needs too much memory:

    >>> said = 'Ran out of memory. Used 20.5G of 15.75G hbm.'
    >>> refusal = Refusal(said)
    >>> refusal.needed / 2**30, refusal.available / 2**30
    (20.5, 15.75)
"""

import dataclasses
import re
from collections.abc import Mapping

import jax
import optax

from bertjax.parallel import partitioning
from bertjax.runs.progress_line import wait
from bertjax.training import state as state_lib
from bertjax.training import step as step_lib
from bertjax.training.abstract_objective import Objective

_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}


class Refusal:
  """The compiler's error for a program that exceeds a device's memory.

  Attributes:
    text: the whole message.
    needed: bytes that the program needs; None if the message has no number.
    available: bytes that a device has; None if the message has no number.
  """

  def __init__(self, text: str):
    self.text = text
    self.needed: int | None = None
    self.available: int | None = None
    size = r'([\d.]+[KMGT])'
    between = r'(?:\) exceeds available HBM \(| of )'
    if found := re.search(rf'{size}{between}{size}(?:\)| hbm)', text):
      self.needed, self.available = (
        int(float(said[:-1]) * _UNITS[said[-1]]) for said in found.groups()
      )


@dataclasses.dataclass(frozen=True)
class Step:
  """A training step.

  Attributes:
    shapes: of a global batch, see `bertjax.batch`.
    mesh: devices to compile for.
    accumulation: number of parts that a batch is processed in.
  """

  objective: Objective
  optimizer: optax.GradientTransformation
  shapes: Mapping[str, jax.ShapeDtypeStruct]
  mesh: jax.sharding.Mesh
  accumulation: int = 1

  @property
  def rows(self) -> int:
    """Rows of the batch per device; those along a tensor axis share them."""
    parts = partitioning.batch_parts(self.mesh)
    return self.shapes['tokens'].shape[0] // parts

  def abstract(self) -> state_lib.TrainState:
    """Returns the shapes and shardings of the training state."""
    return state_lib.abstract(
      self.objective, self.optimizer, self.shapes, self.mesh
    )

  def frozen(self) -> state_lib.Parameters | None:
    """Returns the same of the frozen parameters; None without any."""
    return state_lib.abstract_frozen(self.objective, self.shapes, self.mesh)

  def compile(self, rows: int | None = None) -> jax.stages.Compiled | Refusal:
    """Compiles the step, or returns the compiler's refusal.

    Args:
      rows: of the batch, per device; None: `self.rows`.
    """
    rows = (rows or self.rows) * partitioning.batch_parts(self.mesh)
    shapes = {
      key: jax.ShapeDtypeStruct((rows, *shape.shape[1:]), shape.dtype)
      for key, shape in self.shapes.items()
    }
    abstract, frozen = self.abstract(), self.frozen()
    train_step = step_lib.compile_train_step(
      self.objective,
      self.optimizer,
      self.mesh,
      step_lib.placement(abstract, frozen),
      self.accumulation,
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
      with wait(f'compiling the step of {rows:,} rows'):
        return train_step.lower(abstract, shapes, key, frozen).compile()
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      return Refusal(str(error))
