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
from typing import Any

from bertjax.errors import choose
from bertjax.tasks import glue_files, head_outputs


@dataclasses.dataclass(frozen=True)
class Task:
  """What a task is and how it is trained.

  Attributes:
    name: also that of its folder in results.
    kind: a key of `head_outputs.HEADS`: one of several 'classes', a 'number',
      any number of 'labels', 'tags' of words, or 'spans' of a context.
    labels: the names of classes, labels or tags, in the order of their ids; ()
      for 'number' and 'spans'.
    metrics: names of its metrics; the first is the one that counts.
    tfds: its name in TensorFlow Datasets.
    length: L, the most tokens of an example.
    epochs: how often each training example is seen.
    batch_size: examples of an update.
    learning_rate: the peak.
    start_from: the task from whose model it may start.
    published: what BERT base reaches on the development set, in percent.
    source: where `published` comes from.
  """

  name: str
  kind: str
  labels: tuple[str, ...] = ()
  metrics: tuple[str, ...] = ('accuracy',)
  tfds: str | None = None
  length: int = 128
  epochs: float = 3
  batch_size: int = 32
  learning_rate: float = 3e-5
  start_from: str | None = None
  published: float | None = None
  source: str | None = None

  @property
  def head(self) -> str:
    """The name of its head, see `head_outputs.HEADS`."""
    return head_outputs.HEADS[self.kind]

  @property
  def outputs(self) -> int:
    """C, how many numbers its head gives."""
    return head_outputs.outputs(self.kind, self.labels)


# transformers 4, examples/flax/text-classification: bert-base-cased, 3 epochs,
# the best of five seeds; MRPC in F1, STS-B in Pearson.
_FLAX = 'transformers, examples/flax/text-classification, bert-base-cased'


def _glue(name: str, tfds: str, *, kind: str = 'classes', **more: Any) -> Task:
  if more.get('published'):
    more['source'] = _FLAX
  return Task(
    name,
    kind,
    labels=glue_files.LABELS[name] or (),
    tfds=f'glue/{tfds}',
    **more,
  )


GLUE = {
  task.name: task
  for task in (
    _glue('MNLI', 'mnli', metrics=('accuracy', 'matthews'), published=83.8),
    _glue('CoLA', 'cola', metrics=('matthews', 'accuracy'), published=59.0),
    _glue('SST-2', 'sst2', published=92.2),
    _glue(
      'MRPC',
      'mrpc',
      metrics=('f1', 'accuracy'),
      epochs=5,
      start_from='MNLI',
      published=89.0,
    ),
    _glue(
      'STS-B',
      'stsb',
      kind='number',
      metrics=('pearson', 'spearman'),
      epochs=5,
      start_from='MNLI',
      published=88.9,
    ),
    _glue('QQP', 'qqp', metrics=('f1', 'accuracy')),
    _glue('QNLI', 'qnli', published=90.8),
    _glue('RTE', 'rte', epochs=5, start_from='MNLI', published=64.8),
    _glue('WNLI', 'wnli'),
    # Only evaluated, with the model of MNLI.
    _glue('AX', 'ax', metrics=('matthews', 'accuracy')),
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
