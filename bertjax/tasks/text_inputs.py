"""The files that models of texts read: as training's, or any with a text.

task = Task('stars', 'classes')
read = functools.partial(text_inputs.read, label='classes')
read(task, 'new.csv', labelled=False, text_columns='review')
"""

import os
from collections.abc import Iterator, Sequence

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
    return _texts(task, one_file(source, 'INPUT'), text_columns)
  named = {'text_columns': text_columns, 'label_column': label_column}
  columns = dict(task.columns) | {
    name: x for name, x in named.items() if x is not None
  }
  if task.name in GLUE and not columns:
    return glue_files.read(one_file(source, 'EVAL_FILES'), task.name)
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
