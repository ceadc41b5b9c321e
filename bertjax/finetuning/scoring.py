"""The evaluation of a task, as `loop.train` takes it, on any mesh.

    evaluation = scoring.TaskEvaluation(
        model, task, tokenizer, examples, trivial)
    evaluate = evaluation.prepare(mesh, abstract_state, run_dir)
    evaluate(parameters, None).values
    # {'accuracy': 0.83, 'accuracy_baseline': 0.51, ...}

Every example counts once, including those of the last, partial batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection
from typing import Any

from jax.sharding import Mesh

from bertjax.errors import UserError
from bertjax.inference import forward
from bertjax.models import bert
from bertjax.models.bert import BertForTask
from bertjax.parallel import partitioning
from bertjax.tasks import kinds
from bertjax.tasks.examples import Answered
from bertjax.tasks.specs import Task
from bertjax.text import batching
from bertjax.text.tokenizer import Tokenizer
from bertjax.training.evaluation import Evaluate, Evaluated
from bertjax.training.state import TrainState


@dataclasses.dataclass
class TaskEvaluation:
  """Scores a model on examples, and a trivial answer beside it.

  Attributes:
    model: computes logits.
    task: gives kind, labels, metrics, the length of rows, and the most rows of
      a batch, rounded up to what the mesh can divide.
    tokenizer: the model's.
    examples: the labelled examples to score on.
    trivial: gives the trivial answer to an example.
    baseline: the metrics of the trivial answers, by their names.
  """

  model: BertForTask
  task: Task
  tokenizer: Tokenizer
  examples: Collection[Any]
  trivial: Callable[[Any], Any]
  baseline: dict[str, float] = dataclasses.field(init=False)

  def prepare(self, mesh: Mesh, abstract: TrainState, run_dir: str) -> Evaluate:
    """Returns a function from parameters to values; it has no samples.

    The trivial answer's metrics are named NAME_baseline, and in the summary
    stand beside the model's.
    """

    model, task = self.model, self.task
    multiple = partitioning.batch_parts(mesh)
    logits = forward.task_logits(model.config, model.head, model.classes, mesh)

    def evaluate(parameters: Any, frozen: Any = None) -> Evaluated:
      run = functools.partial(
        batching.apply,
        functools.partial(logits, parameters),
        length=task.length,
        batch_size=-(-task.batch_size // multiple) * multiple,
        multiple=multiple,
        of_positions=bert.reads_positions(model.head),
      )
      values = self._score(
        kinds.answers(task, self.tokenizer, self.examples, run)
      )
      summary = ', '.join(
        f'{name} {values[name]:.4f} (trivial: {trivial:.4f})'
        for name, trivial in self.baseline.items()
      )
      baseline = {f'{name}_baseline': x for name, x in self.baseline.items()}
      return Evaluated(values | baseline, summary, [])

    return evaluate

  def __post_init__(self) -> None:
    """Raises UserError if there are no examples, or some without a label."""
    if not self.examples:
      raise UserError(
        'expected examples to evaluate on, but there are none; set EVAL_FILES'
      )
    kinds.find(self.task.kind).check(self.task, self.examples)
    values = self._score((x, self.trivial(x)) for x in self.examples)
    self.baseline = {name: values[name] for name in self.task.metrics}

  def _score(self, pairs: Answered) -> dict[str, float]:
    return kinds.find(self.task.kind).score(self.task, pairs)
