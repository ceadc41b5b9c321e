"""The tasks that a model is fine-tuned for, one line each.

    >>> task = GLUE['SST-2']
    >>> task.kind, task.labels, task.metrics, task.learning_rate
    ('classes', ('negative', 'positive'), ('accuracy',), 3e-05)

Hyper-parameters: Devlin et al. 2019, appendix A.3 (batch 16 or 32, 2e-5 to
5e-5, 2 to 4 epochs); one setting for all tasks, with more epochs for the small
sets, which too few steps make unstable (Mosbach et al. 2021, Zhang et al.
2021).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bertjax.errors import UserError, choose, expect
from bertjax.tasks import glue_files
from bertjax.values import (
  Count,
  LearningRate,
  Natural,
  NotNegative,
  Positive,
  Rate,
  check_fields,
)


@dataclasses.dataclass(frozen=True)
class Task:
  """What a task is and how it is trained.

  A recipe's values, if they are not None, replace those from `length` on; see
  `with_values`.

  Attributes:
    name: also that of its folder in results.
    kind: a key of `kinds.KINDS`: one of several 'classes', a 'number', any
      number of 'labels', 'tags' of words, or 'spans' of a context.
    labels: the names of classes, labels or tags, in the order of their ids; ()
      for 'number' and 'spans'.
    metrics: names of its metrics; the first is the one that counts.
    tfds: its name in TensorFlow Datasets.
    start_from: the task from whose model it may start.
    published: what BERT base reaches on the development set, in percent.
    source: where `published` comes from.
    head: a name in `models.bert.TASK_HEADS`; None: that of the kind.
    columns: the columns of the user's files, as the kind's reader takes them.
    threshold: of 'spans': above this difference of scores there is no answer.
    length: L, the most tokens of an example.
    stride: tokens from the start of one window of a context to the next; None:
      see `context_windows.make`.
    epochs: how often each training example is seen; need not be whole.
    batch_size: examples of an update, over all devices.
    learning_rate: the peak.
    dropout: rate in the encoder.
    head_dropout: rate before the head; None: that of the encoder.
    layer_decay: see `layerwise.scale`.
    frozen_layers: see `layerwise.scale`.
    fresh_layers: how many of the topmost layers are initialised again, see
      `layerwise`.
    class_weights: weight of each class in the loss, in the order of their
      names; 'balanced': by the inverse of its frequency in training; None: 1.
    pack: whether short examples share a row.
    select: keep the parameters of the 'best' evaluation, or of the 'last' step.
    patience: stop after this many evaluations that were no better; None: never.
    evaluations: how many there are per epoch.
    log_steps: see `loop.train`.
  """

  name: str
  kind: str
  labels: tuple[str, ...] = ()
  metrics: tuple[str, ...] = ('accuracy',)
  tfds: str | None = None
  start_from: str | None = None
  published: float | None = None
  source: str | None = None
  head: str | None = None
  columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  threshold: float = math.inf
  length: Count = 128
  stride: Count | None = None
  epochs: Positive = 3
  batch_size: Count = 32
  learning_rate: LearningRate = 3e-5
  dropout: Rate = 0.1
  head_dropout: Rate | None = None
  layer_decay: Positive = 1.0
  frozen_layers: Natural | None = None
  fresh_layers: Natural = 0
  class_weights: Literal['balanced'] | Sequence[NotNegative] | None = None
  pack: bool = False
  select: Literal['best', 'last'] = 'best'
  patience: Count | None = None
  evaluations: Count = 1
  log_steps: Count = 100

  def __post_init__(self) -> None:
    """Raises UserError for values that cannot work."""
    check_fields(self)
    for name in ('labels', 'metrics'):  # lists would be no arguments of jit
      object.__setattr__(self, name, tuple(getattr(self, name)))
      values = getattr(self, name)
      different = len({*values}) == len(values)
      expect(different, f'{name} that differ', values, f'Task.{name}')
    is_folder = self.name.strip('.') and not {'/', '\\', '\0'} & {*self.name}
    expect(is_folder, 'the name of a folder', self.name, 'Task.name')
    if self.patience is not None and self.select == 'last':
      raise UserError(
        f"PATIENCE {self.patience} with SELECT 'last': early stopping takes "
        "SELECT 'best'"
      )


_VALUES = [field.name for field in dataclasses.fields(Task)]
_VALUES = _VALUES[_VALUES.index('length') :]


def with_values(task: Task, values: Mapping[str, Any]) -> Task:
  """Returns the task with other values of its training.

      >>> with_values(GLUE['RTE'], {'epochs': 3, 'length': None}).epochs
      3

  Args:
    task: gives the values that are None or absent.
    values: names of fields from `length` on.

  Raises:
    UserError: no such field, or a value that cannot work.
  """
  for name in values:
    choose(dict.fromkeys(_VALUES), name, 'another name in finetune.fine_tune')
  return dataclasses.replace(
    task, **{name: x for name, x in values.items() if x is not None}
  )


# transformers 4, examples/flax/text-classification: bert-base-cased, 3 epochs,
# the best of five seeds; MRPC in F1, STS-B in Pearson.
_FLAX = 'transformers, examples/flax/text-classification, bert-base-cased'


def _glue(name: str, **more: Any) -> Task:
  labels = glue_files.LABELS[name]
  return Task(
    name,
    'number' if labels is None else 'classes',
    labels or (),
    tfds='glue/' + name.lower().replace('-', ''),
    source=_FLAX if 'published' in more else None,
    **more,
  )


_SMALL = {'epochs': 5, 'start_from': 'MNLI'}  # training sets
GLUE = {
  task.name: task
  for task in (
    _glue('MNLI', metrics=('accuracy', 'matthews'), published=83.8),
    _glue('CoLA', metrics=('matthews', 'accuracy'), published=59.0),
    _glue('SST-2', published=92.2),
    _glue('MRPC', metrics=('f1', 'accuracy'), published=89.0, **_SMALL),
    _glue('STS-B', metrics=('pearson', 'spearman'), published=88.9, **_SMALL),
    _glue('QQP', metrics=('f1', 'accuracy')),
    _glue('QNLI', published=90.8),
    _glue('RTE', published=64.8, **_SMALL),
    _glue('WNLI'),
    # Only evaluated, with the model of MNLI.
    _glue('AX', metrics=('matthews', 'accuracy')),
  )
}


def place(task: Task) -> int:
  """Returns the rank of a task in the order of GLUE's; others come last."""
  return list(GLUE).index(task.name) if task.name in GLUE else len(GLUE)


def find(name: str) -> Task:
  """Returns a task of GLUE.

  Raises:
    UserError: no such task; the message names the nearest one.
  """
  return choose(GLUE, name, 'TASKS')
