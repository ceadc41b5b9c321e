"""Texts with one class, a number, or several labels: three kinds of task.

    >>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
    >>> tokenizer = Tokenizer([*SPECIAL_TOKENS, 'fun'], cased=False)
    >>> task = Task('mood', 'classes', labels=('bad', 'good'))
    >>> (row,) = encode(task, tokenizer, [TextExample(('Fun',), 'good')])
    >>> row.ids, target(task, row)
    ([2, 5, 3], 1)
    >>> ((_, answer),) = decode_class(task, tokenizer, [(row, np.zeros(2))])
    >>> answer
    {'label': 'bad', 'scores': {'bad': 0.5, 'good': 0.5}}

An answer is what predictions on a file say of a text. `kinds` puts these
functions together.
"""

import collections
import functools
import statistics
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.tasks import metrics
from bertjax.tasks.examples import Answered, Part, Results, TextExample
from bertjax.tasks.kept_examples import chunks
from bertjax.tasks.labelled_batches import Label
from bertjax.tasks.specs import Task
from bertjax.text.batching import Row
from bertjax.text.tokenizer import Tokenizer

Trivial = Callable[[TextExample], dict[str, Any]]


def encode(
  task: Task,
  tokenizer: Tokenizer,
  examples: Iterable[TextExample],
  masks: bool = False,
) -> Iterator[Row]:
  """Yields one row for each text or pair; what is too long is cut.

  Args:
    task: gives the length of rows.
    tokenizer: the model's.
    examples: of any number.
    masks: see `Tokenizer.rows`.
  """
  for some in chunks(examples):
    rows = tokenizer.rows([x.texts for x in some], task.length, masks)
    for example, (row, cut) in zip(some, rows, strict=True):
      yield row._replace(source=Part(example, cut=cut))


def target(task: Task, row: Row) -> Label:
  """Returns the id of a class, a number, or [C]: 1 for each label, else 0."""
  return _encoded(task, _known(row.source.example))


def _known(example: TextExample) -> Any:
  if example.label is None:
    raise UserError(
      'expected labels to train or to score on, but an example has none; '
      'set LABEL_COLUMN, or give another file'
    )
  return example.label


def _encoded(task: Task, label: Any) -> Label:
  """Returns a label or an answer in the form of `target`."""
  if not isinstance(label, str | tuple | list):
    return float(label)
  names = [label] if isinstance(label, str) else label
  if unknown := sorted(set(names) - set(task.labels)):
    raise UserError(
      f'the labels {", ".join(map(repr, unknown[:3]))} do not occur in '
      f'training, which has {", ".join(map(repr, task.labels[:9]))}'
    )
  if isinstance(label, str):
    return task.labels.index(label)
  return [int(name in names) for name in task.labels]


def check(task: Task, examples: Iterable[TextExample]) -> None:
  """Says if all examples have one label, which a constant answer finds."""
  if same := _sameness(examples):
    print(
      f'warning: {same} to score on, so scores say little; set EVAL_FILES or '
      'DATA_DIR to files with others as well'
    )


def _refuse_same(train: Iterable[TextExample]) -> None:
  if same := _sameness(train):
    raise UserError(
      f'expected labels that differ, got {same} to train on; set TRAIN_FILES, '
      'DATA_DIR or LABEL_COLUMN'
    )


def _sameness(examples: Iterable[TextExample]) -> str:
  """Returns what all of several examples have as their label, '' if none."""
  first, count = None, 0
  for label in map(_known, examples):
    first, count = (first, count + 1) if count else (label, 1)
    if label != first:
      return ''
  return f'{first!r} for all {count:,} examples' if count > 1 else ''


def decode_class(task: Task, tokenizer: Tokenizer, found: Results) -> Answered:
  """Yields {'label': 'b', 'scores': {'a': 0.1, 'b': 0.9}} for logits [C]."""
  from scipy import special  # slow to import

  softmax = functools.partial(special.softmax, axis=-1)
  for example, scores in _scores(task, found, softmax):
    label = max(scores, key=scores.__getitem__)
    yield example, {'label': label, 'scores': scores}


def decode_number(task: Task, tokenizer: Tokenizer, found: Results) -> Answered:
  """Yields {'value': 2.5} for [1]."""
  for row, value in found:
    yield row.source.example, {'value': float(value[0])}


def decode_several(
  task: Task, tokenizer: Tokenizer, found: Results
) -> Answered:
  """Yields {'labels': ['b'], 'scores': ...}, all above one half, for [C]."""
  from scipy import special  # slow to import

  for example, scores in _scores(task, found, special.expit):
    labels = [label for label in scores if scores[label] > 0.5]
    yield example, {'labels': labels, 'scores': scores}


def _scores(
  task: Task, found: Results, probabilities_of: Callable[..., np.ndarray]
) -> Answered:
  for some in chunks(found):  # one by one, numpy would take longer
    rows, logits = zip(*some, strict=True)
    probabilities = probabilities_of(np.stack(logits)).tolist()
    for row, each in zip(rows, probabilities, strict=True):
      yield row.source.example, dict(zip(task.labels, each, strict=True))


def score(task: Task, pairs: Answered) -> dict[str, float]:
  """Returns the task's metrics."""
  right, found = [], []
  for example, answer in pairs:
    said = next(answer[x] for x in ('label', 'labels', 'value') if x in answer)
    right.append(_encoded(task, _known(example)))
    found.append(_encoded(task, said))
  # As `metrics` says of each kind.
  dtype = {list: bool, float: np.float32}.get(type(found[0]))
  return metrics.score(
    task.metrics, np.asarray(right, dtype), np.asarray(found, dtype)
  )


def most_frequent(task: Task, train: Iterable[TextExample]) -> Trivial:
  """Returns a function that gives the most frequent class in training."""
  _refuse_same(train)
  counts = collections.Counter(map(_known, train))
  most = max(task.labels, key=counts.__getitem__)
  return lambda example: {'label': most}


def mean(task: Task, train: Iterable[TextExample]) -> Trivial:
  """Returns a function that gives the mean of the training numbers."""
  _refuse_same(train)
  value = statistics.fmean(map(_known, train))
  return lambda example: {'value': value}


def usual(task: Task, train: Collection[TextExample]) -> Trivial:
  """Returns a function that gives the labels of more than half of training."""
  _refuse_same(train)
  counts = collections.Counter(x for each in train for x in _known(each))
  found = [x for x in task.labels if counts[x] > len(train) / 2]
  return lambda example: {'labels': found}
