"""Reads text to predict on from files, a record at a time.

for record in line_files.read('questions.txt'):
  record['text']
"""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from bertjax.errors import UserError


def read(path: str) -> Iterator[dict[str, Any]]:
  """Yields {'text': line} for each line, or the objects of a .jsonl file.

  A line ends at LF or CRLF and at nothing else; an empty line is a text too.
  Fields other than `text` are kept.

  Raises:
    UserError: no such file, not UTF-8, or a line without `text`.
  """
  if not os.path.exists(path) or os.path.isdir(path):
    raise UserError(
      f'expected a file of text, but there is no file {path}; set INPUT'
    )
  for number, line in enumerate(lines(path), start=1):
    text = line.removesuffix('\n').removesuffix('\r')
    yield (
      _record(text, path, number) if path.endswith('.jsonl') else {'text': text}
    )


def lines(path: str) -> Iterator[str]:
  """Yields lines with their ends, without a byte-order mark.

  Text mode would also end a line at CR.

  Raises:
    UserError: not UTF-8.
  """
  with open(path, 'rb') as file:
    for number, line in enumerate(file, start=1):
      if number == 1:
        line = line.removeprefix(b'\xef\xbb\xbf')
      try:
        yield line.decode()
      except UnicodeDecodeError as error:
        raise UserError(
          f'expected UTF-8 in {path}, got byte {line[error.start]:#x} in '
          f'line {number}; convert it: iconv -f latin1 -t utf8'
        ) from error


def repair(text: str) -> str:
  """Replaces lone surrogates, which JSON can hold and no tokenizer takes.

  >>> repair('Hello \\ud83d') == 'Hello \\ufffd'
  True
  """
  return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')


def one_file(path: str | Sequence[str], labelled: bool) -> str:
  """Returns the path of a file; raises UserError for a list of paths."""
  if not isinstance(path, str):
    setting = 'TRAIN_FILES or EVAL_FILES' if labelled else 'INPUT'
    raise UserError(f'expected the path of one file, got {path}; set {setting}')
  return path


def _record(line: str, path: str, number: int) -> dict[str, Any]:
  try:
    record = json.loads(line)
  except ValueError as error:
    raise UserError(
      f'expected JSON in line {number} of {path}, got {error}'
    ) from error
  if not isinstance(record, dict) or not isinstance(record.get('text'), str):
    known = ', '.join(record) if isinstance(record, dict) else line[:40]
    raise UserError(
      f'expected an object with a field "text" in line {number} '
      f'of {path}, got {known}'
    )
  return record | {'text': repair(record['text'])}
