"""The evaluation of a task, as `loop.train` takes it, on any mesh.

    evaluation = scoring.TaskEvaluation(model, codec, examples, train)
    evaluate = evaluation.prepare(mesh, abstract_state, run_dir)
    evaluate(parameters, None).values
    # {'accuracy': 0.83, 'accuracy_baseline': 0.51, ...}

Every example counts once, including those of the last, partial batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.errors import UserError
from bertjax.inference import forward
from bertjax.models import bert
from bertjax.models.bert import BertForTask
from bertjax.parallel import partitioning
from bertjax.tasks import codecs
from bertjax.text import batching
from bertjax.training.evaluation import Evaluate, Evaluated
from bertjax.training.state import TrainState


@dataclasses.dataclass
class TaskEvaluation:
  """Scores a model on examples, and a trivial answer beside it.

  Attributes:
    model: computes logits.
    codec: turns examples into rows and logits into scores.
    examples: the labelled examples to score on.
    train: reads the examples from which the trivial answer is derived.
    batch_size: the most rows of a batch.
  """

  model: BertForTask
  codec: codecs.Codec
  examples: list[Any]
  train: Callable[[], Iterable[Any]]
  batch_size: int = 32

  def prepare(self, mesh: Mesh, abstract: TrainState, run_dir: str) -> Evaluate:
    """Returns a function from parameters to values; it has no samples."""
    del abstract, run_dir

    def evaluate(parameters: Any, frozen: Any = None) -> Evaluated:
      del frozen
      found = self.codec.predict(
        self.examples,
        logits_function(
          self.model, parameters, mesh, self.codec.length, self.batch_size
        ),
      )
      values = self.codec.score(self.examples, found) | self.baseline
      return Evaluated(values, self._summary(values), [])

    return evaluate

  def check(self) -> None:
    """Raises UserError if there are no examples, or some without a label."""
    if not self.examples:
      raise UserError(
        'expected examples to evaluate on, but there are none; set EVAL_FILES'
      )
    _ = self.baseline

  @functools.cached_property
  def baseline(self) -> dict[str, float]:
    """The trivial answer's metrics, named NAME_baseline."""
    values = self.codec.score(
      self.examples, self.codec.baseline(self.train(), self.examples)
    )
    return {
      f'{name}_baseline': values[name] for name in self.codec.task.metrics
    }

  def _summary(self, values: Mapping[str, float]) -> str:
    """Returns one line: each metric beside its baseline."""
    return ', '.join(
      f'{name} {values[name]:.4f} (trivial: {values[f"{name}_baseline"]:.4f})'
      for name in self.codec.task.metrics
    )


def logits_function(
  model: BertForTask,
  parameters: Any,
  mesh: Mesh,
  length: int,
  batch_size: int,
) -> codecs.LogitsOf:
  """Returns a function that maps rows to their logits, see `codecs`.

  Args:
    model: computes logits.
    parameters: the model's, placed on `mesh`.
    mesh: its devices share the rows of a batch.
    length: the most tokens of a row.
    batch_size: the most rows of a batch; rounded up to a multiple of the parts
      that the mesh divides a batch into.
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
