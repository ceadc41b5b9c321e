"""Tasks with their examples; `finetune.fine_tune` takes a list of them.

    data_sets.glue('glue')  # all tasks in the folder
    data_sets.text('train.tsv', 'dev.tsv', 'sentence', 'label')
    data_sets.tags('train.txt', 'test.txt')
    data_sets.questions('train-v1.1.json', 'dev-v1.1.json')

Files of text and tags are read when their examples are asked for, training's
once when the task is made: they say which classes or tags there are.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bertjax.errors import UserError, choose, expect
from bertjax.tasks import (
  conll,
  glue_files,
  kinds,
  labelled_text,
  specs,
  squad,
  tag_metrics,
)
from bertjax.tasks.kept_examples import keep
from bertjax.tasks.specs import Task
from bertjax.text import input_paths
from bertjax.values import Name, Path, Paths, checked

Reader = Callable[[], Iterable[Any]]
_MANY_TAGS = 50  # as few may be more than the words of a tiny file


@dataclasses.dataclass(frozen=True)
class DataSet:
  """A task with its examples.

  Attributes:
    task: what the model is trained for.
    train: gives the training examples.
    evaluations: name -> gives the examples; 'eval' is the set that counts.
  """

  task: Task
  train: Reader
  evaluations: Mapping[str, Reader]


@checked
def glue(
  folder: Path, tasks: str | Sequence[str] | None = None
) -> list[DataSet]:
  """Returns the GLUE tasks whose TSV files are in a folder.

  Args:
    folder: has a folder for each task, or is that of one task.
    tasks: names in `specs.GLUE`; None: all that the folder has.

  Raises:
    UserError: no such task, or its files are missing.
  """
  wanted = [tasks] if isinstance(tasks, str) else tasks
  wanted = [*specs.GLUE] if wanted is None else wanted
  distinct = wanted and len({*wanted}) == len(wanted)
  what = 'names of tasks, each once'
  expect(distinct, what, wanted, 'TASKS, or None for all of them')
  found = []
  for name in wanted:
    task = specs.find(name)
    train = _reader(folder, name, 'train')
    evaluations = _evaluations(folder, name) if train else {}
    if train and 'eval' in evaluations:
      found.append(DataSet(task, train, evaluations))
    elif name == 'AX' and tasks is not None:
      raise UserError(
        'AX has no training examples; it is evaluated with MNLI if its '
        'file has labels: set TASKS to MNLI'
      )
    elif tasks is not None:
      raise UserError(
        f'expected train.tsv and dev.tsv of {name} in {folder}, '
        'which lacks one of them; set DATA_DIR'
      )
  if not found:
    raise UserError(
      'expected folders of GLUE tasks, such as SST-2 with train.tsv and '
      f'dev.tsv, in {folder}; set DATA_DIR'
    )
  return found


@checked
def text(
  train_files: Paths,
  eval_files: Paths,
  text_columns: str | Sequence[str],
  label_column: Name,
  kind: str = 'classes',
  metrics: str | Sequence[str] | None = None,
  name: str = 'text',
) -> list[DataSet]:
  """Returns a task of the user's own tables; its classes are those in training.

  Args:
    train_files: TSV, CSV, JSON lines or Parquet, see `input_paths.expand`.
    eval_files: the same.
    text_columns: the name of one column, or of two.
    label_column: the name of the column of labels.
    kind: 'classes', 'number', or 'labels' if an example can have several.
    metrics: names that suit the kind, see `kinds`; None: its usual ones.
    name: the task's name in results.
  """
  row = choose(kinds.of_texts(), kind, 'KIND')
  metrics = [metrics] if isinstance(metrics, str) else metrics
  distinct = metrics is None or 0 < len({*metrics}) == len(metrics)
  expect(distinct, 'metrics that differ, or None', metrics, 'METRICS')
  metrics = tuple(metrics or row.metrics[: row.usual])
  for metric in metrics:
    choose(dict.fromkeys(row.metrics), metric, 'METRICS')
  _tell_of_shared(train_files, eval_files)
  columns = {'text_columns': text_columns, 'label_column': label_column}
  task = Task(name, kind, metrics=metrics, columns=columns)
  train = keep(row.read(task, train_files, True))
  labels = labelled_text.labels_of(train)
  if 'f1' in metrics and len(labels) != 2:
    raise UserError(
      f'f1 is of the second of two classes, but there are {len(labels)}; set '
      "METRICS to 'f1_macro' or 'f1_micro'"
    )
  task = dataclasses.replace(task, labels=labels)
  held_out = functools.partial(row.read, task, eval_files, True)
  return [DataSet(task, lambda: train, {'eval': held_out})]


@checked
def tags(
  train_files: Paths,
  eval_files: Paths,
  word_column: int = 0,
  tag_column: int | None = -1,
  separator: Name | None = None,
  name: str = 'tags',
) -> list[DataSet]:
  """Returns a task of files in CoNLL columns, see `conll.read`."""
  if tag_column is None:
    raise UserError('expected a column of tags to train on; set TAG_COLUMN')
  _tell_of_shared(train_files, eval_files)
  columns = dict(
    word_column=word_column, tag_column=tag_column, separator=separator
  )
  task = Task(name, 'tags', columns=columns)
  row = kinds.KINDS['tags']
  train = keep(row.read(task, train_files, True))
  labels = conll.tags_of(example.tags or () for example in train)
  if len(labels) < 2:
    raise UserError(
      f'expected tags that differ in {train_files}, got {labels[0]} for all '
      'words; set TAG_COLUMN or TRAIN_FILES'
    )
  words = {word for example in train for word in example.words}
  if len(labels) > max(_MANY_TAGS, len(words)):
    raise UserError(
      f'expected fewer tags than words in {train_files}, got {len(labels):,} '
      f'tags, such as {labels[-1]}, and {len(words):,} words: they seem to be '
      'swapped; set WORD_COLUMN and TAG_COLUMN'
    )
  chunks = tag_metrics.is_chunked(labels)
  odd = [x for x in labels if re.match('[BI]_.', x)]
  if odd and not chunks:
    print(
      f'warning: {odd[0]} is a tag like any other, and no part of a chunk; '
      f'write {odd[0].replace("_", "-", 1)} to score chunks by F1',
      flush=True,
    )
  metrics = row.metrics if chunks else ('accuracy',)
  task = dataclasses.replace(task, labels=labels, metrics=metrics)
  held_out = functools.partial(row.read, task, eval_files, True)
  return [DataSet(task, lambda: train, {'eval': held_out})]


@checked
def questions(
  train_files: Paths,
  eval_files: Paths | None = None,
  name: str = 'questions',
) -> list[DataSet]:
  """Returns a task of files in the JSON of SQuAD 1.1 or 2.0.

  Args:
    train_files: see `squad.read`.
    eval_files: the same; None: a tenth of the articles of train_files is held
      out.
    name: the task's name in results.
  """
  examples = squad.read(train_files)
  if not any(example.answers for example in examples):
    raise UserError(
      f'expected answers in {train_files}, got questions without any; set '
      'TRAIN_FILES'
    )
  if eval_files is None:
    examples, held_out = squad.split_by_article(examples)
  else:
    _tell_of_shared(train_files, eval_files)
    held_out = squad.read(eval_files)
  train, left = squad.check(examples)
  if not any(example.answers for example in train):
    raise UserError(
      f'expected answers that occur in their contexts in {train_files}, got '
      f'{left} that do not; mend "text" and "context", or set TRAIN_FILES'
    )
  if left:
    print(
      f'{train_files}: {left} answers do not occur in their context where '
      'they should; the nearest occurrence is taken, or else none'
    )
  metrics = kinds.KINDS['spans'].metrics
  task = Task(name, 'spans', metrics=metrics, length=384)
  return [DataSet(task, lambda: train, {'eval': lambda: held_out})]


def _tell_of_shared(
  train_files: str | Sequence[str], eval_files: str | Sequence[str]
) -> None:
  """Says if a file is among those of training and those of evaluation."""
  train, held_out = (
    {*map(os.path.realpath, input_paths.expand(paths, setting, []))}
    for paths, setting in (
      (train_files, 'TRAIN_FILES'),
      (eval_files, 'EVAL_FILES'),
    )
  )
  if both := sorted(train & held_out):
    print(
      f'warning: {both[0]} is to train on and to score on, so scores say '
      'little; set EVAL_FILES to other examples',
      flush=True,
    )


def _evaluations(folder: str, name: str) -> dict[str, Reader]:
  """Returns what there is of the development set; MNLI has two more sets."""
  readers = {'eval': _reader(folder, name, 'dev')}
  if name == 'MNLI':
    readers['eval_mismatched'] = _reader(folder, name, 'dev_mismatched')
    diagnostic = _reader(folder, 'AX', 'test')
    if diagnostic and next(iter(diagnostic())).label:  # not all have labels
      readers['eval_ax'] = diagnostic
  return {key: reader for key, reader in readers.items() if reader}


def _reader(folder: str, task: str, split: str) -> Reader | None:
  path = glue_files.find(folder, task, split)
  labelled = task != 'AX'  # of which not all have labels
  read = functools.partial(glue_files.read, task=task, labelled=labelled)
  return functools.partial(read, path) if path else None
