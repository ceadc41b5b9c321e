"""Labelled text in a user's own files: TSV, CSV, JSON lines or Parquet.

    for number, record in tables.records('train.csv'):
      number, record['text']  # 2, 'A man sings.': line 1 is the header
    read = lambda: tables.read('part-*.tsv', ['question', 'answer'], 'label')
    classes = tables.labels_of(read(), 'classes')  # ('no', 'yes')

Files are read as a stream, so memory does not grow with them. Source: ours.
"""

import csv
import difflib
import glob
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from bertjax.errors import UserError
from bertjax.finetuning.examples import TextExample
from bertjax.models.config import choose

# Ours: of more, the column is likelier a number or an identifier.
_MOST_CLASSES = 1000
# Ours: characters, since those that the csv module takes, 131072, are too few
# for whole documents.
_LONGEST_FIELD = 1 << 24
SUFFIXES = ('.tsv', '.csv', '.jsonl', '.json', '.parquet')


def records(
    path: str,
    names: Sequence[str] | None = None,
    broken: list[int] | None = None,
) -> Iterator[tuple[int, dict[str, object]]]:
  r"""Yields the number of each line, or row of Parquet, and its columns.

  'text\tlabel\nHe ran.\tyes\n' to (2, {'text': 'He ran.', 'label': 'yes'}).

  Args:
    path: of the file; its suffix says how to read it. A line ends at LF or CRLF
      and at nothing else; empty ones are passed over. A quote in .tsv is text;
      in .csv, quotes may hold commas and ends of lines.
    names: of the columns of a .tsv or .csv without a header; None: its first
      line names them.
    broken: takes the numbers of the lines of a .tsv or .csv that have more or
      fewer fields than columns, which are left out; None: those are an error.

  Raises:
    UserError: no such file, another suffix, nothing in it, or a line that
      cannot be read.
  """
  suffix = _suffix(path)
  if suffix == '.parquet':
    found = _parquet_records(path)
  elif suffix in _ROWS:
    found = _named(_ROWS[suffix](path), path, names, broken)
  else:
    found = _json_records(path)
  empty = True
  for number, record in found:
    empty = False
    yield number, record
  if empty:
    raise UserError(f'expected examples in {path}, got none; give another file')


def columns(path: str) -> list[str]:
  """Returns the names of a file's columns; of JSON lines, of the first object.

  Raises:
    UserError: see `records`.
  """
  suffix = _suffix(path)
  if suffix in _ROWS:
    for _, fields in _ROWS[suffix](path):
      return fields
  return list(next(records(path))[1])


def read(
    paths: str | Sequence[str],
    text_columns: str | Sequence[str],
    label_column: str | None = None,
    kind: str = 'classes',
) -> Iterator[TextExample]:
  """Yields the examples of files; each is identified by `records`' number.

  Args:
    paths: a path, a glob, or a list of those; read in sorted order.
    text_columns: the name of one column, or of two.
    label_column: the name of a column; None: the labels are not known.
    kind: 'classes', where a label is a name, as it is written, or a whole
      number or truth value; 'number'; 'labels', where it is a list of names, or
      text that '|' divides into names, none if it is empty.

  Raises:
    UserError: no file, no such column, an empty text, no label, or one of
      another kind; see `records` too.
  """
  texts = [text_columns] if isinstance(text_columns, str) else [*text_columns]
  if len(texts) not in (1, 2):
    raise UserError(f'expected one column of text or two, got {len(texts)}; '
                    'set TEXT_COLUMNS')
  label_of = choose(
      {'classes': _name, 'number': _number, 'labels': _names}, kind, 'KIND')
  files = _expand(paths)
  wanted = {name: 'TEXT_COLUMNS' for name in texts}
  if label_column is not None:
    wanted[label_column] = 'LABEL_COLUMN'
  for path in files:
    _check_columns(path, wanted)
  for path in files:
    unit = 'row' if _suffix(path) == '.parquet' else 'line'
    for number, record in records(path):
      where = f'of {unit} {number} of {path}'
      yield TextExample(
          tuple(_text(record.get(x), f'column {x} {where}') for x in texts),
          None if label_column is None else label_of(
              record.get(label_column), f'column {label_column} {where}'),
          number)


def labels_of(examples: Iterable[TextExample], kind: str) -> tuple[str, ...]:
  """Returns the distinct class names, sorted, numbers as numbers.

  Args:
    examples: with labels.
    kind: see `read`; () of a 'number'.

  Raises:
    UserError: fewer than two classes, or so many that they can be none; or not
      one label.
  """
  if kind == 'number':
    return ()
  found = set()
  for example in examples:
    found.update(example.label if kind == 'labels' else [example.label])
    if kind == 'classes' and len(found) > _MOST_CLASSES:
      raise UserError(f'expected at most {_MOST_CLASSES} classes, got more; is '
                      'LABEL_COLUMN a number (set KIND to number) or an '
                      'identifier?')
  if kind == 'classes' and len(found) < 2:
    raise UserError('expected at least two classes, got only '
                    f'{", ".join(found) or "none"}; check LABEL_COLUMN')
  if not found:
    raise UserError('expected at least one label, got none; check LABEL_COLUMN')
  if all(re.fullmatch(r'-?[0-9]+(\.[0-9]+)?', name) for name in found):
    return tuple(sorted(found, key=lambda name: (float(name), name)))
  return tuple(sorted(found))


def _suffix(path: str) -> str:
  if not os.path.isfile(path):
    raise UserError(f'expected a file, but there is none at {path}; '
                    'give another path')
  suffix = os.path.splitext(path)[1].lower()
  if suffix not in SUFFIXES:
    raise UserError('expected a file that ends in .tsv, .csv, .jsonl (or '
                    f'.json) or .parquet, got {path}; rename or convert it')
  return suffix


def _lines(path: str) -> Iterator[str]:
  """Yields the lines with their ends, which text mode finds at CR too."""
  with open(path, 'rb') as file:
    for number, line in enumerate(file, start=1):
      if number == 1:
        line = line.removeprefix(b'\xef\xbb\xbf')
      try:
        yield line.decode()
      except UnicodeDecodeError as error:
        raise UserError(
            f'expected UTF-8 in {path}, got byte {line[error.start]:#x} in '
            f'line {number}; convert it: iconv -f latin1 -t utf8') from error


def _tsv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
  for number, line in enumerate(_lines(path), start=1):
    if line := line.removesuffix('\n').removesuffix('\r'):
      yield number, line.split('\t')


def _csv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
  csv.field_size_limit(_LONGEST_FIELD)
  # Strict: else an unclosed quote takes the rest of the file for one field.
  rows = csv.reader(_lines(path), strict=True)
  number = 1
  try:
    for fields in rows:
      if fields:
        yield number, fields
      number = rows.line_num + 1
  except csv.Error as error:
    raise UserError(
        f'expected CSV in the row that begins in line {number} of {path}, got '
        f'"{error}"; quote its fields, with quotes inside them doubled'
    ) from error


_ROWS = {'.tsv': _tsv_rows, '.csv': _csv_rows}


def _named(rows, path, names, broken) -> Iterator[tuple[int, dict]]:
  for number, fields in rows:
    if names is None:
      names = fields
    elif len(fields) == len(names):
      yield number, dict(zip(names, fields, strict=True))
    elif broken is None:
      raise UserError(
          f'expected {len(names)} fields in line {number} of {path}, one a '
          f'column, got {len(fields)}; mend or remove the line')
    else:
      broken.append(number)


def _json_records(path: str) -> Iterator[tuple[int, dict]]:
  for number, line in enumerate(_lines(path), start=1):
    if line := line.strip():
      try:
        record = json.loads(line)
      except (ValueError, RecursionError):
        record = None
      if not isinstance(record, dict):
        raise UserError(f'expected a JSON object in line {number} of {path}, '
                        f'got {line[:40]!r}; write one object a line')
      yield number, record


def _parquet_records(path: str) -> Iterator[tuple[int, dict]]:
  try:
    import pyarrow
    from pyarrow import parquet
  except ImportError as error:
    raise UserError(f'expected pyarrow, to read {path}, but it is not '
                    'installed; pip install pyarrow, or convert it to .jsonl'
                    ) from error
  number = 0
  try:
    # pyarrow holds all of the file else (pre_buffer), or a whole row group.
    with parquet.ParquetFile(
        path, pre_buffer=False, buffer_size=1 << 20) as file:
      for batch in file.iter_batches(batch_size=1024):
        for record in batch.to_pylist():
          number += 1
          yield number, record
  # ValueError: a type that Python has not, such as nanoseconds.
  except (pyarrow.ArrowException, OSError, ValueError) as error:
    raise UserError(f'cannot read {path} as Parquet, after {number} rows: '
                    f'{" ".join(str(error).split())}; write it anew') from error


def _expand(paths: str | Sequence[str]) -> list[str]:
  found = set()
  for pattern in [paths] if isinstance(paths, str) else paths:
    # A name may hold brackets, so a file goes before what it matches as a glob.
    some = [pattern] if os.path.exists(pattern) else glob.glob(
        pattern, recursive=True)
    if not some:
      raise UserError(f'expected files, but nothing matches {pattern}; '
                      'set TRAIN_FILES or EVAL_FILES')
    found.update(some)
  return sorted(found)


def _check_columns(path: str, wanted: dict[str, str]) -> None:
  known = columns(path)
  for name, setting in wanted.items():
    if known.count(name) != 1:
      near = difflib.get_close_matches(name, known, n=10, cutoff=0)
      raise UserError(f'expected one column {name} in {path}, which has '
                      f'{", ".join(near)}; set {setting}')


def _text(value: object, where: str) -> str:
  if not isinstance(value, str) or not value.strip():
    raise UserError(f'expected text in {where}, got '
                    f'{_shown(value)}; fill it in or remove it')
  # Half a surrogate pair, as "\ud83d" alone is in JSON, no tokenizer takes.
  return value.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')


def _name(value: object, where: str) -> str:
  # A column of whole numbers that lacks some comes as floats, NaN for those.
  if isinstance(value, float) and value.is_integer():
    value = int(value)
  missing = isinstance(value, float) and not math.isfinite(value)
  if missing or not isinstance(value, str | int | float) or (
      not str(value).strip()):
    raise UserError(f'expected the name of a class in {where}, got '
                    f'{_shown(value)}; fill it in, or set LABEL_COLUMN or KIND')
  return str(value)


def _names(value: object, where: str) -> tuple[str, ...]:
  if isinstance(value, str):
    value = [part.strip() for part in value.split('|') if part.strip()]
  names = value if isinstance(value, list) else [value]
  return tuple(dict.fromkeys(_name(name, where) for name in names))


def _number(value: object, where: str) -> float:
  try:
    number = math.nan if isinstance(value, bool) else float(value)
  except (TypeError, ValueError, OverflowError):
    number = math.nan
  if not math.isfinite(number):
    raise UserError(f'expected a number in {where}, got {_shown(value)}; '
                    'mend it, or set LABEL_COLUMN or KIND')
  return number


def _shown(value: object) -> str:
  return 'nothing' if value in (None, '') else repr(value)[:40]
