"""Text to predict on, a record at a time, and what is predicted, written whole.

    for record in text_files.read('questions.txt'):
      record['text']
    with text_files.writing('vectors.npy') as path: ...

Source: ours.
"""

import contextlib
import json
import os
from collections.abc import Iterator

from bertjax.errors import UserError


def read(path: str) -> Iterator[dict]:
  """Yields {'text': line} of a text file, or the objects of JSON lines.

  A line ends at LF or CRLF and at nothing else; an empty one is a text as well.
  JSON lines are known by the suffix .jsonl; other fields than `text` are kept.

  Raises:
    UserError: no such file, not UTF-8, or a line without `text`.
  """
  if not os.path.isfile(path):
    raise UserError(f'expected a file of text, but there is no file {path}; '
                    'set INPUT')
  with open(path, 'rb') as file:
    for number, line in enumerate(file, start=1):
      if number == 1:
        line = line.removeprefix(b'\xef\xbb\xbf')
      line = line.removesuffix(b'\n').removesuffix(b'\r')
      try:
        text = line.decode()
      except UnicodeDecodeError as error:
        raise UserError(
            f'expected UTF-8 in {path}, got byte {line[error.start]:#x} in '
            f'line {number}; convert it: iconv -f latin1 -t utf8') from error
      yield _record(text, path, number) if path.endswith('.jsonl') else {
          'text': text}


def count(path: str) -> int:
  """Returns the number of records; reads them all, so mistakes show first."""
  return sum(1 for _ in read(path))


@contextlib.contextmanager
def writing(path: str) -> Iterator[str]:
  """Gives the name `path`.part, which becomes `path`, or goes, at the end.

  Raises:
    UserError: the disk is full, or the like.
  """
  part = f'{path}.part'
  try:
    yield part
    os.replace(part, path)
  except OSError as error:
    raise UserError(f'cannot write {part}: {error.strerror}; free space there '
                    'or set OUTPUT') from error
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(part)


def check_output(path: str, suffixes: tuple[str, ...], source: str) -> None:
  """Refuses, before anything is computed, what cannot be written.

  Raises:
    UserError: another suffix, the input itself, a folder that is not there or
      cannot be written.
  """
  if not path.endswith(suffixes):
    raise UserError(f'expected a file that ends in {" or ".join(suffixes)}, '
                    f'got {path}; set OUTPUT')
  if os.path.realpath(path) == os.path.realpath(source):
    raise UserError(f'{path} is the input as well; set OUTPUT to another file')
  folder = os.path.dirname(path) or '.'
  try:
    os.makedirs(folder, exist_ok=True)
  except OSError as error:
    raise UserError(f'cannot make {folder}: {error.strerror}; set OUTPUT'
                    ) from error
  if not os.access(folder, os.W_OK):
    raise UserError(f'{folder} cannot be written; set OUTPUT')


def _record(line: str, path: str, number: int) -> dict:
  try:
    record = json.loads(line)
  except ValueError as error:
    raise UserError(f'expected JSON in line {number} of {path}, got {error}'
                    ) from error
  if not isinstance(record, dict) or not isinstance(record.get('text'), str):
    known = ', '.join(record) if isinstance(record, dict) else line[:40]
    raise UserError(f'expected an object with a field "text" in line {number} '
                    f'of {path}, got {known}')
  # Half a surrogate pair, as "\ud83d" alone is, no tokenizer takes.
  text = record['text'].encode('utf-16', 'surrogatepass')
  return record | {'text': text.decode('utf-16', 'replace')}
