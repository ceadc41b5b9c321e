"""Reads labelled text from a user's own tables, and finds its classes.

    for example in labelled_text.read('*.tsv', ['text', 'reply'], 'label'):
      example.texts, example.label  # ('Is it?', 'It is.'), 'yes'

Files are read as a stream, so memory does not grow with them.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from bertjax.errors import UserError, choose, did_you_mean, expect
from bertjax.tasks.examples import TextExample
from bertjax.text import input_files, input_paths

# A column with more is more likely a number or an identifier.
_MOST_CLASSES = 1000
# So many may have few examples each; of more, half of the examples would have
# a class of their own.
_FEW_CLASSES = 20
# In size: the squares of a batch must add up to a float32.
_LARGEST = 1e15


def read(
  paths: str | Sequence[str],
  text_columns: str | Sequence[str],
  label_column: str | None = None,
  kind: str = 'classes',
  recorded: bool = False,
  known: Collection[str] = (),
) -> Iterator[TextExample]:
  """Yields the examples, identified by the number of their line or Parquet row.

  Args:
    paths: see `input_paths.expand`.
    text_columns: the name of one column, or of two.
    label_column: the name of a column; None: the labels are not known.
    kind: what a label is. 'classes': a name, used as written, a number or a
      truth value. 'number': a number. 'labels': a list of names, or names
      separated by '|', none if it is empty.
    recorded: to predict: texts may be empty, and an example has its `record`.
    known: the labels of training; none: all are.

  Raises:
    UserError: no file, no such column, an empty text or none but empty ones, no
      label, one of another kind, or one that is not known; see
      `input_files.records` too.
  """
  texts = [text_columns] if isinstance(text_columns, str) else [*text_columns]
  valid = len(texts) in (1, 2)
  expect(valid, 'one column of text or two', texts, 'TEXT_COLUMNS')
  convert, expected = choose(_LABELS, kind, 'KIND')
  setting = 'INPUT' if recorded else 'TRAIN_FILES or EVAL_FILES'
  files = input_paths.expand(paths, setting)
  named = [*texts, *([] if label_column is None else [label_column])]
  different = len({*named}) == len(named)
  expect(
    different,
    'a column of its own for each text and for the label',
    named,
    'TEXT_COLUMNS or LABEL_COLUMN',
  )
  empty = set(texts)
  wanted = {name: 'TEXT_COLUMNS' for name in texts}
  if label_column is not None:
    wanted[label_column] = 'LABEL_COLUMN'
  for path in files:
    columns = input_files.columns(path, setting)
    _check_header(path, columns, texts)
    input_files.check_columns(path, columns, wanted)
  for path in files:
    form = input_files.form_of(path, setting)
    unit = 'row' if form == 'parquet' else 'line'
    for number, record in input_files.records(path, setting=setting):
      where = f'of {unit} {number} of {path}'
      given = tuple(
        _text(record.get(x), f'column {x} {where}', recorded) for x in texts
      )
      empty.difference_update(
        name for name, text in zip(texts, given, strict=True) if text.strip()
      )
      label = None
      if label_column is not None:
        value = record.get(label_column)
        try:
          label = convert(value)
        except (TypeError, ValueError, OverflowError) as error:
          raise UserError(
            f'expected {expected} in column {label_column} {where}, got '
            f'{_shown(value)}; mend it, or set LABEL_COLUMN or KIND'
          ) from error
        if known:
          _check_known(label, known, f'column {label_column} {where}')
      yield TextExample(given, label, number, record if recorded else {})
  if empty:
    raise UserError(
      f'expected text in column {" and ".join(sorted(empty))} of '
      f'{", ".join(files)}, where all values are empty; set TEXT_COLUMNS'
    )


def labels_of(examples: Iterable[TextExample]) -> tuple[str, ...]:
  """Returns the distinct class names, sorted, by value if all are numbers.

  Numbers are no classes, and give none.

      >>> labels_of([TextExample(('a',), '10'), TextExample(('b',), '9')])
      ('9', '10')

  Args:
    examples: with labels. A line says which differ in case or spaces alone,
      and if there are too many to be classes.

  Raises:
    UserError: fewer than two classes, too many to be classes, or no label.
  """
  found: set[str] = set()
  one, count = False, 0  # whether each example has one class; of examples
  for label in (example.label for example in examples):
    count += 1
    if isinstance(label, float):
      return ()
    one = isinstance(label, str)
    found.update([label] if isinstance(label, str) else label or ())
    if one and len(found) > _MOST_CLASSES:
      raise UserError(
        f'expected at most {_MOST_CLASSES} classes, got more; is '
        'LABEL_COLUMN a number (set KIND to number) or an '
        'identifier?'
      )
  if one and len(found) > max(_FEW_CLASSES, count / 2):
    print(
      f'warning: {len(found)} classes for {count} examples; set KIND=number '
      'if they are numbers, or LABEL_COLUMN if they are others',
      flush=True,
    )
  alike: dict[str, str] = {}
  for name in sorted(found):
    if (other := alike.setdefault(name.strip().casefold(), name)) != name:
      print(
        f'warning: {other!r} and {name!r} are two classes, which differ in '
        'case or spaces alone; write them alike if they are one',
        flush=True,
      )
  least, what = (2, 'two classes') if one else (1, 'one label')
  enough = len(found) >= least
  expect(enough, f'at least {what}', sorted(found), 'LABEL_COLUMN')
  if all(re.fullmatch(r'-?[0-9]+(\.[0-9]+)?', name) for name in found):
    return tuple(sorted(found, key=lambda name: (float(name), name)))
  return tuple(sorted(found))


def _check_header(
  path: str, columns: Sequence[str], texts: Sequence[str]
) -> None:
  """Refuses what looks like several columns, in the file or in the setting."""
  for name in {*texts} - {*columns}:
    if len(parts := [part.strip() for part in name.split(',')]) > 1:
      raise UserError(
        f'expected the name of one column, got {name!r}; for several, write '
        f'--gin.TEXT_COLUMNS="{tuple(parts)}"'
      )
    for divider in ';\t,|' if len(columns) == 1 else '':
      if divider in columns[0]:
        raise UserError(
          f'expected columns in {path}, got one, {columns[0][:60]!r}, with '
          f'{divider!r} in its name; write tabs between columns and .tsv at '
          'the end of its name, or commas and .csv'
        )


def _check_known(label: Any, known: Collection[str], where: str) -> None:
  for name in [label] if isinstance(label, str) else label:
    if name not in known:
      raise UserError(
        f'expected a label of training in {where}, got '
        f'{name!r}{did_you_mean(name, known)}; mend it, leave the example out, '
        'or add such examples to TRAIN_FILES'
      )


def _text(value: object, where: str, may_be_empty: bool) -> str:
  if not isinstance(value, str) or not (may_be_empty or value.strip()):
    raise UserError(
      f'expected text in {where}, got {_shown(value)}; fill it in, remove it '
      'or set TEXT_COLUMNS'
    )
  return input_files.repair(value)


# These raise TypeError, ValueError or OverflowError.


def _name(value: Any) -> str:
  # Whole numbers become floats if some are missing, and those become NaN.
  if isinstance(value, float) and value == int(value):
    value = int(value)
  if not isinstance(value, str | int | float) or not str(value).strip():
    raise ValueError
  return str(value)


def _names(value: Any) -> tuple[str, ...]:
  if isinstance(value, str):
    value = [part.strip() for part in value.split('|') if part.strip()]
  names = value if isinstance(value, list) else [value]
  return tuple(dict.fromkeys(map(_name, names)))


def _number(value: Any) -> float:
  if isinstance(value, bool) or not abs(number := float(value)) <= _LARGEST:
    raise ValueError
  return number


_LABELS: dict[str, tuple[Callable[[Any], Any], str]] = {
  'classes': (_name, 'the name of a class'),
  'number': (_number, f'a number of at most {_LARGEST:g} in size'),
  'labels': (_names, 'names of classes'),
}


def _shown(value: object) -> str:
  return 'nothing' if value in (None, '') else repr(value)[:40]
