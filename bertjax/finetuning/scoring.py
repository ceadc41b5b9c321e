"""The evaluation of a task, as `loop.train` takes it, on any mesh.

    evaluation = scoring.TaskEvaluation(model, encoder, examples, train)
    values = evaluation.prepare(mesh, abstract_state)(parameters)
    # {'accuracy': 0.83, 'accuracy_baseline': 0.51, ...}

Every example counts once, also those of the last, partial batch. Source: ours.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.errors import UserError
from bertjax.inference import forward
from bertjax.models import bert
from bertjax.models.bert import BertForTask
from bertjax.parallel import partitioning
from bertjax.text import batching
from bertjax.text.batching import Row
from bertjax.training.state import TrainState


@dataclasses.dataclass
class TaskEvaluation:
  """Scores of a model on examples, and those of a trivial answer.

  Attributes:
    model: gives logits.
    encoder: see `encoders`.
    examples: to score on, with labels.
    train: reads the examples that the trivial answer is found on.
    batch_size: rows at a time.
  """

  model: BertForTask
  encoder: object
  examples: list
  train: Callable[[], Iterable]
  batch_size: int = 32

  def prepare(self, mesh: Mesh, abstract: TrainState):
    """Returns a function of parameters that gives name -> value."""
    del abstract

    def evaluate(parameters):
      found = self.encoder.predict(
        self.examples,
        logits_function(
          self.model, parameters, mesh, self.encoder.length, self.batch_size
        ),
      )
      return self.encoder.score(self.examples, found) | self.baseline

    return evaluate

  def check(self) -> None:
    """Raises UserError where there is nothing to score, or no label."""
    if not self.examples:
      raise UserError(
        'expected examples to evaluate on, but there are none; set EVAL_FILES'
      )
    _ = self.baseline

  @functools.cached_property
  def baseline(self) -> dict[str, float]:
    """The task's metrics of the trivial answer, as name_baseline."""
    values = self.encoder.score(
      self.examples, self.encoder.baseline(self.train(), self.examples)
    )
    return {
      f'{name}_baseline': values[name] for name in self.encoder.task.metrics
    }

  def summary(self, values: dict[str, float]) -> str:
    """Returns one line: each metric beside its baseline."""
    return ', '.join(
      f'{name} {values[name]:.4f} (trivial: {values[f"{name}_baseline"]:.4f})'
      for name in self.encoder.task.metrics
    )

  def samples(self, run_dir: str):
    """Returns a function of parameters that gives no text to look at."""
    del run_dir
    return lambda parameters: []


def logits_function(
  model: BertForTask, parameters, mesh: Mesh, length: int, batch_size: int
) -> Callable[[Iterable[Row]], Iterator[np.ndarray]]:
  """Returns what maps rows to their logits, see `encoders`.

  Args:
    model: gives logits.
    parameters: of the model, placed on `mesh`.
    mesh: rows of a batch are divided over its devices.
    length: the longest row there can be.
    batch_size: rows at a time, rounded up to what the devices divide.
  """
  multiple = partitioning.batch_parts(mesh)
  batch_size = -(-batch_size // multiple) * multiple
  apply = forward.task_logits(
    model.config,
    model.head,
    model.classes,
    NamedSharding(mesh, PartitionSpec()),
  )
  return lambda rows: batching.apply(
    lambda batch: apply(
      parameters,
      partitioning.put_batch(partitioning.own_rows(batch, mesh), mesh),
    ),
    rows,
    length,
    batch_size,
    multiple,
    bert.reads_positions(model.head),
  )
