"""The training step of `loop.train`, compiled for devices that are not there.

    step = Step(objective, optimizer, batch.shapes(512, 128, 20), mesh)
    program = step.compile()    # jax.stages.Compiled, or a Refusal

Source: ours.
"""

import dataclasses
import re
from collections.abc import Mapping

import jax
import optax

from bertjax.parallel import partitioning
from bertjax.training import state as state_lib
from bertjax.training import step as step_lib

_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}


class Refusal:
  """What the compiler says of a program that the memory cannot hold.

  Attributes:
    text: all of it.
    needed: bytes that the program would take; None where it does not say.
    available: bytes that a device has; None where it does not say.
  """

  def __init__(self, text: str):
    self.text = text
    found = re.search(
      r'\(([\d.]+)([KMGT])\) exceeds available HBM \(([\d.]+)([KMGT])\)'
      r'|Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm',
      text,
    )
    self.needed = self.available = None
    if found:
      needed, unit, available, of = filter(None, found.groups())
      self.needed = int(float(needed) * _UNITS[unit])
      self.available = int(float(available) * _UNITS[of])


@dataclasses.dataclass(frozen=True)
class Step:
  """A training step.

  Attributes:
    objective: see `objectives`.
    optimizer: optax transformation.
    shapes: of a global batch, see `bertjax.batch`.
    mesh: of devices to compile for.
    accumulation: parts that a batch is worked through in.
  """

  objective: object
  optimizer: optax.GradientTransformation
  shapes: Mapping[str, jax.ShapeDtypeStruct]
  mesh: jax.sharding.Mesh
  accumulation: int = 1

  @property
  def rows(self) -> int:
    """Rows of the batch that a device has; a tensor axis shares them."""
    parts = partitioning.batch_parts(self.mesh)
    return self.shapes['tokens'].shape[0] // parts

  def abstract(self) -> state_lib.TrainState:
    """Returns the state's shapes and shardings."""
    return state_lib.abstract(
      self.objective.model, self.optimizer, self.shapes, self.mesh
    )

  def compile(self, rows: int | None = None) -> jax.stages.Compiled | Refusal:
    """Compiles.

    Args:
      rows: a device; None: as many as the batch has.
    """
    rows = (self.rows if rows is None else rows) * partitioning.batch_parts(
      self.mesh
    )
    shapes = {
      key: jax.ShapeDtypeStruct((rows, *shape.shape[1:]), shape.dtype)
      for key, shape in self.shapes.items()
    }
    abstract = self.abstract()
    train_step = step_lib.compile_train_step(
      self.objective, self.optimizer, self.mesh, abstract, self.accumulation
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
      return train_step.lower(abstract, shapes, key).compile()
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      return Refusal(str(error))
