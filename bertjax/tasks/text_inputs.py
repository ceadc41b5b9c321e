"""The files that models of texts read: as training's, or any with a text.

task = Task('stars', 'classes')
read = functools.partial(text_inputs.read, label='classes')
read(task, 'new.csv', labelled=False, text_columns='review')
"""

from collections.abc import Iterator, Sequence
from typing import Any

from bertjax.errors import UserError, expect
from bertjax.tasks import glue_files, labelled_text
from bertjax.tasks.examples import TextExample
from bertjax.tasks.specs import GLUE, Task
from bertjax.text import input_files, input_paths


def read(
  task: Task,
  source: str | Sequence[str],
  labelled: bool,
  *,
  label: str = '',
  **columns: Any,
) -> Iterator[TextExample]:
  """Yields examples: of training's files, or of any file of text or table.

  Args:
    task: says which columns training had.
    source: see `input_paths.expand`; with labels, in the format of training's;
      without, lines or tables.
    labelled: whether to read labels.
    label: what a label is, see `labelled_text.read`.
    columns: `text_columns` and `label_column`, if not as in training.
  """
  if not labelled:
    return _texts(task, source, **columns)
  columns = {**task.columns, **columns}
  if task.name in GLUE and not columns:
    return _of_glue(task, source)
  if len(columns) < 2:
    raise UserError(
      'the model does not say which columns hold text and label; '
      'set TEXT_COLUMNS and LABEL_COLUMN'
    )
  return labelled_text.read(source, kind=label, known=task.labels, **columns)


def _of_glue(task: Task, source: str | Sequence[str]) -> Iterator[TextExample]:
  for path in input_paths.expand(source, 'EVAL_FILES'):
    yield from glue_files.read(path, task.name, labelled=True)


def _texts(
  task: Task,
  source: str | Sequence[str],
  text_columns: str | Sequence[str] | None = None,
) -> Iterator[TextExample]:
  paths = input_paths.expand(source, 'INPUT')
  tables = [x for x in paths if input_files.form_of(x, 'INPUT') != 'text']
  what = 'tables for TEXT_COLUMNS, such as .csv'
  expect(tables or not text_columns, what, paths, 'TEXT_COLUMNS to None')
  for path in paths:
    if input_files.form_of(path, 'INPUT') == 'text':
      yield from _lines(path)
    else:
      yield from _table(task, path, text_columns)


def _lines(path: str) -> Iterator[TextExample]:
  """Yields a text for each line, also an empty one."""
  blank = True
  for line in input_files.lines(path, 'INPUT'):
    text = line.removesuffix('\n').removesuffix('\r')
    blank = blank and not text.strip()
    yield TextExample((text,), record={'text': text})
  if blank:
    raise UserError(
      f'expected text in {path}, got an empty file or white space alone; set '
      'INPUT to another'
    )


def _table(
  task: Task, path: str, text_columns: str | Sequence[str] | None
) -> Iterator[TextExample]:
  # Those that are given, else training's, else 'text'.
  options = [text_columns]
  if not text_columns:
    glue = task.name in GLUE and not task.columns
    trained = glue_files.COLUMNS[task.name].texts if glue else None
    options = [task.columns.get('text_columns'), trained, 'text']
  names = [[x] if isinstance(x, str) else [*x] for x in options if x]
  known = {*input_files.columns(path, 'INPUT')}
  there = (some for some in names if known.issuperset(some))
  return labelled_text.read(path, next(there, names[0]), recorded=True)
