"""Reads text to predict on from files, a record at a time.

for record in line_files.read('questions.txt'):
  record['text']
"""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from bertjax.errors import UserError, expect

# What may name a file of examples or of texts.
SETTINGS = 'INPUT, TRAIN_FILES, EVAL_FILES or DATA_DIR'


def read(path: str) -> Iterator[dict[str, Any]]:
  """Yields {'text': line} for each line, or the objects of a .jsonl file.

  A line ends at LF or CRLF and at nothing else; an empty line is a text too.
  Fields other than `text` are kept.

  Raises:
    UserError: no such file, not UTF-8, or a line without `text`.
  """
  for number, line in enumerate(lines(path), start=1):
    text = line.removesuffix('\n').removesuffix('\r')
    record: dict[str, Any] = {'text': text}
    if path.endswith('.jsonl'):
      where = f'line {number} of {path}'
      record = json_object(text, where, 'write one object a line')
      if not isinstance(record.get('text'), str):
        raise UserError(
          f'expected a field "text" in {where}, got {", ".join(record)}'
        )
      record['text'] = repair(record['text'])
    yield record


def check_is_there(path: str) -> None:
  """Raises UserError if there is no such file, or it cannot be read."""
  there = os.access(path, os.R_OK) and not os.path.isdir(path)
  expect(there, 'a file that is there and can be read', path, SETTINGS)


def lines(path: str) -> Iterator[str]:
  """Yields lines with their ends, without a byte-order mark.

  Text mode would also end a line at CR.

  Raises:
    UserError: no such file, or not UTF-8.
  """
  check_is_there(path)
  with open(path, 'rb') as file:
    for number, line in enumerate(file, start=1):
      try:
        yield line.decode('utf-8-sig' if number == 1 else 'utf-8')
      except UnicodeDecodeError as error:
        raise UserError(
          f'expected UTF-8 in {path}, got byte {error.object[error.start]:#x} '
          f'in line {number}; convert it: iconv -f latin1 -t utf8'
        ) from error


def repair(text: str) -> str:
  """Replaces lone surrogates, which JSON can hold and no tokenizer takes.

  >>> repair('Hello \\ud83d') == 'Hello \\ufffd'
  True
  """
  return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')


def one_file(path: str | Sequence[str], labelled: bool) -> str:
  """Returns the path of a file; raises UserError for a list of paths."""
  setting = 'TRAIN_FILES or EVAL_FILES' if labelled else 'INPUT'
  expect(isinstance(path, str), 'the path of one file', path, setting)
  return str(path)


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
