"""Texts with one class, a number, or several labels: three kinds of task.

    >>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
    >>> tokenizer = Tokenizer([*SPECIAL_TOKENS, 'fun'], cased=False)
    >>> task = Task('mood', 'classes', labels=('bad', 'good'))
    >>> (encoded,) = encode(task, tokenizer, [TextExample(('Fun',), 'good')])
    >>> encoded.rows[0].ids
    [2, 5, 3]
    >>> decode_class(task, tokenizer, encoded, [np.zeros(2)])
    {'label': 'bad', 'scores': {'bad': 0.5, 'good': 0.5}}

An answer is what predictions on a file say of a text. `kinds` puts these
functions together.
"""

import collections
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from bertjax.errors import UserError
from bertjax.tasks import (
  glue_files,
  labelled_text,
  metrics,
  record_files,
  table_files,
)
from bertjax.tasks.examples import Encoded, TextExample
from bertjax.tasks.specs import GLUE, Task
from bertjax.text import line_files
from bertjax.text.tokenizer import Tokenizer

Answer = dict[str, Any]


def encode(
  task: Task, tokenizer: Tokenizer, examples: Sequence[TextExample]
) -> list[Encoded]:
  """Returns one row for each text or pair; what is too long is cut."""
  rows = tokenizer.rows([example.texts for example in examples], task.length)
  return [Encoded([row], cut) for row, cut in rows]


def class_id(task: Task, example: TextExample, encoded: Encoded) -> list[int]:
  """Returns the id of the class."""
  (name,) = _names(task, example)
  return [task.labels.index(name)] * len(encoded.rows)


def number(task: Task, example: TextExample, encoded: Encoded) -> list[float]:
  """Returns the number."""
  del task
  return [cast(float, _known(example))] * len(encoded.rows)


def several(
  task: Task, example: TextExample, encoded: Encoded
) -> list[list[int]]:
  """Returns 1 for each label that the example has, else 0: [C]."""
  names = _names(task, example)
  return [[int(label in names) for label in task.labels]] * len(encoded.rows)


def _known(example: TextExample) -> str | float | tuple[str, ...]:
  if example.label is None:
    raise UserError(
      'expected labels to train or to score on, but an example has none; '
      'set LABEL_COLUMN, or give another file'
    )
  return example.label


def _names(task: Task, example: TextExample) -> tuple[str, ...]:
  label = _known(example)
  names = cast(
    'tuple[str, ...]', label if isinstance(label, tuple) else (label,)
  )
  unknown = sorted(set(names) - set(task.labels))
  if unknown:
    raise UserError(
      f'the labels {", ".join(map(repr, unknown[:3]))} do not occur in '
      f'training, which has {", ".join(map(repr, task.labels[:9]))}'
    )
  return names


def decode_class(
  task: Task, tokenizer: Tokenizer, encoded: Encoded, results: list[np.ndarray]
) -> Answer:
  """Returns {'label': 'b', 'scores': {'a': 0.1, 'b': 0.9}} from logits [C]."""
  del tokenizer, encoded
  (logits,) = results
  powers = np.exp(logits - logits.max())
  scores = _scores(task, powers / powers.sum())
  return {'label': max(scores, key=scores.__getitem__), 'scores': scores}


def decode_number(
  task: Task, tokenizer: Tokenizer, encoded: Encoded, results: list[np.ndarray]
) -> Answer:
  """Returns {'value': 2.5} from [1]."""
  del task, tokenizer, encoded
  return {'value': float(results[0][0])}


def decode_several(
  task: Task, tokenizer: Tokenizer, encoded: Encoded, results: list[np.ndarray]
) -> Answer:
  """Returns {'labels': ['b'], 'scores': ...}, all above one half, from [C]."""
  del tokenizer, encoded
  scores = _scores(task, 1 / (1 + np.exp(-results[0])))
  return {'labels': [x for x in scores if scores[x] > 0.5], 'scores': scores}


def _scores(task: Task, probabilities: np.ndarray) -> dict[str, float]:
  return dict(zip(task.labels, map(float, probabilities), strict=True))


def score(
  task: Task, pairs: Iterable[tuple[TextExample, Answer]]
) -> dict[str, float]:
  """Returns the task's metrics."""
  right: list[Any] = []
  found: list[Any] = []
  for example, answer in pairs:
    if 'label' in answer:
      right.append(task.labels.index(_names(task, example)[0]))
      found.append(task.labels.index(answer['label']))
    elif 'labels' in answer:
      right.append([x in _names(task, example) for x in task.labels])
      found.append([x in answer['labels'] for x in task.labels])
    else:
      right.append(_known(example))
      found.append(answer['value'])
  dtype = np.float32 if found and isinstance(found[0], float) else None
  return metrics.score(
    task.metrics, np.asarray(right, dtype), np.asarray(found, dtype)
  )


def most_frequent(
  task: Task, train: Iterable[TextExample]
) -> Callable[[TextExample], Answer]:
  """Returns a function that gives the most frequent class in training."""
  counts = collections.Counter(_names(task, example)[0] for example in train)
  most = max(task.labels, key=lambda label: counts[label])
  return lambda example: {'label': most}


def mean(
  task: Task, train: Iterable[TextExample]
) -> Callable[[TextExample], Answer]:
  """Returns a function that gives the mean of the training numbers."""
  del task
  value = statistics.fmean(cast(float, _known(x)) for x in train)
  return lambda example: {'value': value}


def usual(
  task: Task, train: Iterable[TextExample]
) -> Callable[[TextExample], Answer]:
  """Returns a function that gives the labels of more than half of training."""
  counts, examples = collections.Counter[str](), 0
  for example in train:
    counts.update(_names(task, example))
    examples += 1
  found = [x for x in task.labels if counts[x] > examples / 2]
  return lambda example: {'labels': found}


def read(
  task: Task,
  source: str | Sequence[str],
  labelled: bool,
  text_columns: str | Sequence[str] | None = None,
  label_column: str | None = None,
  *,
  label: str,
) -> Iterator[TextExample]:
  """Yields examples: of training's files, or of any file of text or table.

  Args:
    task: says which columns training had.
    source: with labels, files in the format of training's; without, one file
      of lines, or a table.
    labelled: whether to read labels.
    text_columns: one column of a table, or two; None: as in training.
    label_column: of a table; None: as in training.
    label: what a label is, see `labelled_text.read`.
  """
  if not labelled:
    return _texts(task, cast(str, source), text_columns)
  named = {'text_columns': text_columns, 'label_column': label_column}
  columns = dict(task.columns) | {
    name: x for name, x in named.items() if x is not None
  }
  if task.name in GLUE and not columns:
    return glue_files.read(record_files.one(source, 'EVAL_FILES'), task.name)
  if len(columns) < 2:
    raise UserError(
      'the model does not say which columns hold text and label; '
      'set TEXT_COLUMNS and LABEL_COLUMN'
    )
  return labelled_text.read(source, kind=label, **columns)


def _texts(
  task: Task, source: str, wanted: str | Sequence[str] | None
) -> Iterator[TextExample]:
  if os.path.splitext(source)[1].lower() not in table_files.SUFFIXES:
    for record in line_files.read(source):
      yield TextExample((record['text'],), record=record)
    return
  names = None
  for number, record in table_files.records(source):
    names = names or _columns(record, wanted, task, source)
    values = tuple(record.get(name) for name in names)
    texts = tuple(
      line_files.repair(value) for value in values if isinstance(value, str)
    )
    if len(texts) < len(values):
      raise UserError(
        f'expected text in {" and ".join(names)} of line {number} of {source}, '
        f'got {values}; set TEXT_COLUMNS'
      )
    yield TextExample(texts, identifier=number, record=record)


def _columns(
  record: dict[str, object],
  wanted: str | Sequence[str] | None,
  task: Task,
  source: str,
) -> list[str]:
  """Returns the columns of text: `wanted`, else training's, else 'text'."""
  glue = task.name in GLUE and not task.columns
  options = (
    [wanted]
    if wanted
    else [
      task.columns.get('text_columns'),
      glue_files.text_columns(task.name) if glue else None,
      'text',
    ]
  )
  names = [[x] if isinstance(x, str) else [*x] for x in options if x]
  for some in names:
    if record.keys() >= set(some):
      return some
  raise UserError(
    f'expected text in {" and ".join(names[0])} of {source}, which has '
    f'{", ".join(record)}; set TEXT_COLUMNS'
  )


def write(
  task: Task, path: str, pairs: Iterable[tuple[TextExample, Answer]], count: int
) -> str:
  """Writes JSON lines: each record with its answer.

  A field of the record that is named like one of the answer becomes
  NAME_given.
  """
  del task

  def records() -> Iterator[dict[str, Any]]:
    for example, answer in pairs:
      yield {
        f'{name}_given' if name in SAID else name: value
        for name, value in example.record.items()
      } | answer

  record_files.write_lines(path, records())
  return f'{count:,} texts in {path}'


# Fields of answers; a record's own field of such a name is renamed.
SAID = ('label', 'labels', 'scores', 'value')
