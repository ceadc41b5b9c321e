"""Reads tables in TSV, CSV, JSON lines or Parquet, a record at a time.

    for number, record in table_files.records('train.csv'):
      number, record['text']  # 2, 'A man sings.': line 1 is the header

Files are read as a stream, so memory does not grow with them.
"""

import csv
import difflib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bertjax.errors import UserError, expect
from bertjax.text import line_files

# In characters; the csv module's default, 131072, is too short for whole
# documents.
_LONGEST_FIELD = 1 << 24


def records(
  path: str,
  names: Sequence[str] | None = None,
  broken: list[int] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
  r"""Yields the number of each line, or row of Parquet, and its columns.

  'text\tlabel\nHe ran.\tyes\n' gives (2, {'text': 'He ran.', 'label': 'yes'}).

  Args:
    path: its suffix says how to read it. A line ends at LF or CRLF and at
      nothing else; empty ones are skipped. In .tsv a quote is text; in .csv
      quoted fields may contain commas and ends of lines.
    names: the columns of a .tsv or .csv without a header; None: the first line
      names them.
    broken: receives the numbers of the lines of a .tsv or .csv with more or
      fewer fields than columns, which are left out; None: they are an error.

  Raises:
    UserError: no such file, another suffix, no records, or a line that cannot
      be read.
  """
  suffix = _suffix(path)
  if suffix in _ROWS:
    found = _named(_ROWS[suffix](path), path, names, broken)
  else:
    found = _RECORDS[suffix](path)
  first = [*itertools.islice(found, 1)]
  expect(first, f'examples in {path}', first, line_files.SETTINGS)
  yield from itertools.chain(first, found)


def columns(path: str) -> list[str]:
  """Returns the names of a file's columns; in JSON lines, the first object's.

  Raises:
    UserError: see `records`.
  """
  suffix = _suffix(path)
  if suffix in _ROWS:
    for _, fields in _ROWS[suffix](path):
      return fields
  return list(next(records(path))[1])


def check_columns(
  path: str, known: Sequence[str], wanted: Mapping[str, str]
) -> None:
  """Refuses a file that lacks a column or has it twice.

  Args:
    path: of the file.
    known: its columns.
    wanted: name -> the setting that names the column or the file.

  Raises:
    UserError: with the nearest names.
  """
  for name, setting in wanted.items():
    near = difflib.get_close_matches(name, known, n=10, cutoff=0)
    one = known.count(name) == 1
    expect(one, f'one column {name} in {path}', near, setting)


def _suffix(path: str) -> str:
  line_files.check_is_there(path)
  suffix = os.path.splitext(path)[1].lower()
  if suffix not in SUFFIXES:
    raise UserError(
      'expected a file that ends in .tsv, .csv, .jsonl (or '
      f'.json) or .parquet, got {path}; rename or convert it'
    )
  if not os.path.isfile(path):  # a pipe, and tables are opened twice
    raise UserError(
      f'expected a table in a regular file, got {path}; save it as one'
    )
  return suffix


def _tsv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
  for number, line in enumerate(line_files.lines(path), start=1):
    if line := line.removesuffix('\n').removesuffix('\r'):
      yield number, line.split('\t')


# Not by pyarrow.csv: it takes '"a"b' for 'ab', ends a line at a lone CR, and
# knows the numbers of rows alone, not of lines.
def _csv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
  csv.field_size_limit(_LONGEST_FIELD)
  # Unless strict, an unclosed quote makes the rest of the file one field.
  rows = csv.reader(line_files.lines(path), strict=True)
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


def _named(
  rows: Iterable[tuple[int, list[str]]],
  path: str,
  names: Sequence[str] | None,
  broken: list[int] | None,
) -> Iterator[tuple[int, dict[str, Any]]]:
  for number, fields in rows:
    if names is None:
      names = fields
    elif len(fields) == len(names):
      yield number, dict(zip(names, fields, strict=True))
    elif broken is None:
      raise UserError(
        f'expected {len(names)} fields in line {number} of {path}, one a '
        f'column, got {len(fields)}; mend or remove the line'
      )
    else:
      broken.append(number)


def _json_records(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
  for number, line in enumerate(line_files.lines(path), start=1):
    if line := line.strip():
      where = f'line {number} of {path}'
      fix = 'write one object a line'
      yield number, line_files.json_object(line, where, fix)


def _parquet_records(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
  try:
    import pyarrow
    from pyarrow import parquet
  except ImportError as error:
    raise UserError(
      f'expected pyarrow, to read {path}, but it is not installed; pip '
      'install pyarrow, or convert the file to .jsonl'
    ) from error
  number = 0
  try:
    # By default pyarrow keeps the file (pre_buffer), or a row group, in memory.
    with parquet.ParquetFile(
      path, pre_buffer=False, buffer_size=1 << 20
    ) as file:
      for batch in file.iter_batches(batch_size=1024):
        for record in batch.to_pylist():
          number += 1
          yield number, record
  # ValueError: a type that Python lacks, such as nanoseconds.
  except (pyarrow.ArrowException, OSError, ValueError) as error:
    raise UserError(
      f'cannot read {path} as Parquet, after {number} rows: '
      f'{" ".join(str(error).split())}; write it anew'
    ) from error


_ROWS = {'.tsv': _tsv_rows, '.csv': _csv_rows}
_RECORDS = {
  '.jsonl': _json_records,
  '.json': _json_records,
  '.parquet': _parquet_records,
}
SUFFIXES = _ROWS.keys() | _RECORDS.keys()
