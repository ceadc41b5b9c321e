"""The files that models of texts read: as training's, or any with a text.

task = Task('stars', 'classes')
read = functools.partial(text_inputs.read, label='classes')
read(task, 'new.csv', labelled=False, text_columns='review')
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.tasks import glue_files, labelled_text, table_files
from bertjax.tasks.examples import TextExample
from bertjax.tasks.specs import GLUE, Task
from bertjax.text import line_files
from bertjax.text.line_files import one_file


def read(
  task: Task,
  source: str | Sequence[str],
  labelled: bool,
  *,
  label: str,
  **columns: Any,
) -> Iterator[TextExample]:
  """Yields examples: of training's files, or of any file of text or table.

  Args:
    task: says which columns training had.
    source: with labels, files in the format of training's; without, one file
      of lines, or a table.
    labelled: whether to read labels.
    label: what a label is, see `labelled_text.read`.
    columns: `text_columns` and `label_column`, if not as in training.
  """
  if not labelled:
    return _texts(task, one_file(source, labelled), **columns)
  columns = {**task.columns, **columns}
  if task.name in GLUE and not columns:
    return glue_files.read(one_file(source, labelled), task.name)
  if len(columns) < 2:
    raise UserError(
      'the model does not say which columns hold text and label; '
      'set TEXT_COLUMNS and LABEL_COLUMN'
    )
  return labelled_text.read(source, kind=label, **columns)


def read_lines(
  task: Task, source: str, labelled: bool = False
) -> Iterator[TextExample]:
  """Yields the texts of a file of lines or JSON lines."""
  for record in line_files.read(source):
    yield TextExample((record['text'],), record=record)


def _texts(
  task: Task, source: str, text_columns: str | Sequence[str] | None = None
) -> Iterator[TextExample]:
  if os.path.splitext(source)[1].lower() not in table_files.SUFFIXES:
    return read_lines(task, source)
  # Those that are given, else training's, else 'text'.
  options = [text_columns]
  if not text_columns:
    glue = task.name in GLUE and not task.columns
    trained = glue_files.COLUMNS[task.name].texts if glue else None
    options = [task.columns.get('text_columns'), trained, 'text']
  names = [[x] if isinstance(x, str) else [*x] for x in options if x]
  known = {*table_files.columns(source)}
  there = (some for some in names if known.issuperset(some))
  return labelled_text.read(source, next(there, names[0]), recorded=True)
