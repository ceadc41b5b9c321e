"""Reads text, JSON lines, TSV, CSV and Parquet, plain or compressed.

    for number, record in input_files.records('train.csv.gz'):
      number, record['text']  # 2, 'A man sings.': line 1 is the header
    for line in input_files.lines('questions.txt'):
      ...

Files are read as a stream, so memory does not grow with them.
"""

import codecs
import csv
import difflib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bertjax.errors import UserError, expect
from bertjax.text import input_bytes

# In characters. What goes on after the longest line is dropped.
_LONGEST_LINE = 1 << 26
# The csv module's default, 131072, is too short for whole documents.
_LONGEST_FIELD = 1 << 24

Numbered = Iterator[tuple[int, dict[str, Any]]]
# Is told the number of a line that is left out.
LeftOut = Callable[[int], None]


def form_of(path: str, setting: str = input_bytes.FILES) -> str:
  """Returns 'text', 'jsonl', 'tsv', 'csv' or 'parquet'.

  Raises:
    UserError: it cannot be read, is not the Parquet that its suffix says, or is
      JSON or HTML although its suffix says plain text.
  """
  name = path.lower()
  for suffix in input_bytes.SUFFIXES:
    name = name.removesuffix(suffix)
  form = _FORMS.get(os.path.splitext(name)[1], 'text')
  if input_bytes.is_parquet(path, setting):
    return 'parquet'
  if form == 'parquet':
    raise UserError(
      f'expected Parquet in {path}, as its suffix says, got something else; '
      f'rename it, or leave it out of {setting}'
    )
  input_bytes.check_text(path, setting, plain=form == 'text')
  return form


def lines(path: str, setting: str = input_bytes.FILES) -> Iterator[str]:
  """Yields lines with their ends: LF, or CRLF, and nothing else.

  Raises:
    UserError: no such file, no text, or not UTF-8; see `input_bytes.blocks`.
  """
  for number, line in enumerate(split(_decoded(path, setting)), start=1):
    if len(line) >= _LONGEST_LINE:
      raise UserError(
        f'expected lines of less than {_LONGEST_LINE:,} characters in {path}, '
        f'got more in line {number}; divide it'
      )
    yield line


def split(texts: Iterable[str]) -> Iterator[str]:
  """Yields the lines, with their ends, of a text that is cut anywhere."""
  parts: list[str] = []
  length = 0
  for text in texts:
    first, *others = text.split('\n')
    if length < _LONGEST_LINE:
      parts.append(first)
      length += len(first)
    if others:
      yield ''.join(parts) + '\n'
      yield from (line + '\n' for line in others[:-1])
      parts, length = others[-1:], len(others[-1])
  if rest := ''.join(parts):
    yield rest


def records(
  path: str,
  names: Sequence[str] | None = None,
  broken: LeftOut | None = None,
  setting: str = input_bytes.FILES,
) -> Numbered:
  r"""Yields the number of each line, or row of Parquet, and its columns.

  'text\tlabel\nHe ran.\tyes\n' gives (2, {'text': 'He ran.', 'label': 'yes'}).

  Args:
    path: `form_of` says how to read it. Empty lines are skipped. In .tsv a
      quote is text; in .csv quoted fields may contain commas and ends of lines.
    names: the columns of a .tsv or .csv without a header; None: the first line
      names them.
    broken: see `parse`.
    setting: names the file, for messages.

  Raises:
    UserError: no such file, no table, no records, or a line that cannot be
      read.
  """
  form = _table(path, setting)
  if form == 'parquet':
    found = _parquet_records(path, setting)
  else:
    found = parse(form, lines(path, setting), path, names, broken)
  first = [*itertools.islice(found, 1)]
  expect(first, f'examples in {path}', first, setting)
  yield from itertools.chain(first, found)


def parse(
  form: str,
  found: Iterable[str],
  path: str,
  names: Sequence[str] | None = None,
  broken: LeftOut | None = None,
) -> Numbered:
  """Yields what `records` does, of lines.

  Args:
    form: 'jsonl', 'tsv' or 'csv'.
    found: the lines.
    path: their file, for messages.
    names: see `records`.
    broken: is called with the numbers of lines that are left out, since they
      hold no object or have more or fewer fields than columns; None: they are
      an error.
  """
  if form in _ROWS:
    return _named(_ROWS[form](found, path), path, names, broken)
  return _json_records(found, path, broken)


def columns(path: str, setting: str = input_bytes.FILES) -> list[str]:
  """Returns the names of a file's columns; in JSON lines, the first object's.

  Raises:
    UserError: see `records`.
  """
  form = _table(path, setting)
  if form in _ROWS:
    for _, fields in _ROWS[form](lines(path, setting), path):
      return fields
  return list(next(records(path, setting=setting))[1])


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


def check_tables(paths: Iterable[str], column: str) -> None:
  """Refuses a TEXT_COLUMN other than the usual one if there are no tables."""
  if column != 'text' and all(
    input_bytes.page_form(path) or form_of(path) == 'text' for path in paths
  ):
    raise UserError(
      f'expected tables for TEXT_COLUMN {column!r}, got plain text alone; '
      'leave it out, or name tables .jsonl, .csv, .tsv or .parquet'
    )


def repair(text: str) -> str:
  """Replaces lone surrogates, which JSON can hold and no tokenizer takes.

  >>> repair('Hello \\ud83d') == 'Hello \\ufffd'
  True
  """
  return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')


def json_object(text: str, where: str, fix: str) -> dict[str, Any]:
  """Returns the object that `text` is in JSON.

  Args:
    text: of a file or a line.
    where: it stands, for the message.
    fix: what to do if it is something else, for the message.

  Raises:
    UserError: it is no JSON, or no object.
  """
  try:
    content = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise UserError(f'expected JSON in {where}, got {error}; {fix}') from error
  if not isinstance(content, dict):
    raise UserError(
      f'expected an object in {where}, got {content!r:.40}; {fix}'
    )
  return content


def _decoded(path: str, setting: str) -> Iterator[str]:
  decoder = codecs.getincrementaldecoder('utf-8')()
  ended = 0  # lines
  for block in itertools.chain(input_bytes.blocks(path, setting), [b'']):
    try:
      text = decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
      number = ended + error.object.count(b'\n', 0, error.start) + 1
      raise UserError(
        f'expected UTF-8 in {path}, got byte {error.object[error.start]:#x} '
        f'in line {number}; convert it: iconv -f latin1 -t utf8'
      ) from error
    ended += text.count('\n')
    yield text


def _table(path: str, setting: str) -> str:
  """Returns the form of a file that is a table."""
  form = form_of(path, setting)
  if form == 'text':
    raise UserError(
      'expected a table, in a file that ends in .tsv, .csv, .jsonl (or .json) '
      f'or .parquet, got {path}; rename or convert it'
    )
  if '://' not in path and not os.path.isfile(path):
    with input_bytes.explained(path, setting):
      os.stat(path)
    raise UserError(  # a pipe, and tables are opened twice
      f'expected a table in a regular file, got {path}; save it as one'
    )
  return form


def _tsv_rows(
  found: Iterable[str], path: str
) -> Iterator[tuple[int, list[str]]]:
  for number, line in enumerate(found, start=1):
    if line := line.removesuffix('\n').removesuffix('\r'):
      yield number, line.split('\t')


# Not by pyarrow.csv: it takes '"a"b' for 'ab', ends a line at a lone CR, and
# knows the numbers of rows alone, not of lines.
def _csv_rows(
  found: Iterable[str], path: str
) -> Iterator[tuple[int, list[str]]]:
  csv.field_size_limit(_LONGEST_FIELD)
  # Unless strict, an unclosed quote makes the rest of the file one field.
  rows = csv.reader(found, strict=True)
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
  broken: LeftOut | None,
) -> Numbered:
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
      broken(number)


def _json_records(
  found: Iterable[str], path: str, broken: LeftOut | None
) -> Numbered:
  for number, line in enumerate(found, start=1):
    if not (line := line.strip()):
      continue
    where = f'line {number} of {path}'
    try:
      record = json_object(line, where, 'write one object a line')
    except UserError:
      if broken is None:
        raise
      broken(number)
    else:
      yield number, record


def _parquet_records(path: str, setting: str) -> Numbered:
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
    with (
      input_bytes.open_file(path) as opened,
      # By default pyarrow keeps the file (pre_buffer), or a row group, in
      # memory.
      parquet.ParquetFile(
        opened, pre_buffer=False, buffer_size=1 << 20
      ) as file,
    ):
      for batch in file.iter_batches(batch_size=1024):
        for record in batch.to_pylist():
          number += 1
          yield number, record
  # ValueError: a type that Python lacks, such as nanoseconds.
  except (pyarrow.ArrowException, OSError, ValueError) as error:
    raise UserError(
      f'cannot read {path} as Parquet, after {number} rows: '
      f'{" ".join(str(error).split())}; write it anew, or leave it out of '
      f'{setting}'
    ) from error


# The one table of readers: what a name ends in, before a suffix of compression,
# says the form. First bytes, see `input_bytes`, say more than that.
_FORMS = {
  '.tsv': 'tsv',
  '.csv': 'csv',
  '.jsonl': 'jsonl',
  '.json': 'jsonl',
  '.ndjson': 'jsonl',
  '.parquet': 'parquet',
}
_ROWS = {'tsv': _tsv_rows, 'csv': _csv_rows}
