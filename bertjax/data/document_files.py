"""Reads documents from text files and JSON lines, plain or compressed.

    reader = document_files.TextFiles('books/*.txt.gz')
    counts = cleaning.Counts()
    for lines in reader.documents(counts):
      ...  # a list of lines with text; an empty list ends a document

Source: the format of text files is BERT's (google-research/bert).
"""

import bz2
import contextlib
import dataclasses
import functools
import glob
import gzip
import json
import os
import pathlib
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
import zstandard

from bertjax.data import cleaning
from bertjax.errors import UserError, expect

_BLOCK_BYTES = 1 << 20
# A decompressor may yield 128 KB for a few bytes, so it is fed little at once.
_COMPRESSED_BYTES = 1 << 14
# The rest of a longer JSON line is dropped, which makes it malformed.
_LONGEST_JSON_LINE = 1 << 27
_JSON = re.compile(r'\.(jsonl|json|ndjson)(\.gz|\.bz2|\.zst)?$', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class TextFiles:
  """Text files: a line is a paragraph or sentence, a blank one ends a document.

  Files named .jsonl, .json or .ndjson instead hold one JSON object per line,
  whose string `text` is a document; blank lines in it separate paragraphs only.
  Either kind may be compressed, with .gz, .bz2 or .zst at the end of the name.

  Attributes:
    patterns: one or several paths or globs, local (`**` and `~` work) or any
      that `tf.io.gfile` opens, such as gs://. The files are read in sorted
      order, each once.
  """

  patterns: str | Sequence[str]

  def __str__(self) -> str:
    return ', '.join(self._patterns())

  def _patterns(self) -> list[str]:
    if isinstance(self.patterns, str):
      return [self.patterns]
    return list(self.patterns or ())

  def paths(self) -> list[str]:
    """Returns the files, sorted.

    Raises:
      UserError: a pattern names a folder, or no file.
    """
    patterns = self._patterns()
    some = all(isinstance(x, str) and x.strip() for x in patterns) and patterns
    what = 'a file, a glob or a list of them'
    expect(some, what, self.patterns, 'TEXT_FILES')
    return sorted({path for pattern in patterns for path in _expand(pattern)})

  def fingerprint(self) -> list[tuple[str, int, int]]:
    """Returns the names, sizes and modification times of the files."""
    found = []
    for path in self.paths():
      with _explained(path):
        stat = tf.io.gfile.stat(path)
      name = path if '://' in path else os.path.abspath(path)
      found.append((name, stat.length, stat.mtime_nsec))
    return found

  def size(self) -> int:
    """Returns the bytes of all files on disk."""
    return sum(size for _, size, _ in self.fingerprint())

  def documents(self, counts: cleaning.Counts) -> Iterator[list[str]]:
    """Yields lists of lines; an empty list ends a document.

    Raises:
      UserError: a file cannot be read or decompressed.
    """
    for path in self.paths():
      lines = counts.lines
      texts = cleaning.decode(_read(path, counts), counts)
      texts = cleaning.normalise(texts, counts)
      if _JSON.search(path):
        yield from _json_documents(path, texts, counts)
      else:
        batches = cleaning.split_lines(texts, counts)
        yield from cleaning.split_documents(batches, counts)
      counts.files += 1
      counts.empty_files += counts.lines == lines


def _expand(pattern: str) -> list[str]:
  """Returns the files that a pattern matches, at least one."""
  pattern = os.path.expanduser(pattern)
  local = '://' not in pattern
  with _explained(pattern):
    if tf.io.gfile.isdir(pattern):
      raise UserError(
        f'expected text files, got the directory {pattern}; '
        f"set TEXT_FILES to '{pattern.rstrip('/')}/*' or the like"
      )
    if tf.io.gfile.exists(pattern):
      return [pattern]  # even if its name holds '[' or '*'
    found = (
      glob.glob(pattern, recursive=True) if local else tf.io.gfile.glob(pattern)
    )
    found = [path for path in found if not tf.io.gfile.isdir(path)]
  if not found:
    where = ''
    if local:
      above = pathlib.Path(os.path.abspath(pattern)).parents
      folder = next(filter(os.path.isdir, above))
      where = f' (the nearest folder that exists is {folder})'
    raise UserError(
      f'no file matches {pattern!r}{where}; set TEXT_FILES to one that exists'
    )
  return found


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
  """Turns what reading a file fails with into a UserError."""
  try:
    yield
  except tf.errors.OpError as error:
    raise UserError(
      f'cannot read {path}: {error.message.splitlines()[0]}; make it readable '
      'or set TEXT_FILES'
    ) from error
  except (EOFError, OSError, zlib.error, zstandard.ZstdError) as error:
    raise UserError(
      f'{path} is truncated or not what its suffix says ({error}); '
      'replace it, or leave it out of TEXT_FILES'
    ) from error


def _read(path: str, counts: cleaning.Counts) -> Iterator[bytes]:
  """Yields the decompressed bytes of a file in blocks."""
  before = counts.file_bytes
  with _explained(path), tf.io.gfile.GFile(path, 'rb') as file:
    for block in _decompress(path, file):
      counts.file_bytes = before + file.tell()
      yield block


def _decompress(path: str, file: Any) -> Iterator[bytes]:
  suffix = os.path.splitext(path.lower())[1]
  if suffix == '.zst':
    return _decompress_zstandard(file)
  if suffix == '.gz':
    file = gzip.GzipFile(fileobj=file)
  elif suffix == '.bz2':
    file = bz2.BZ2File(file)
  return iter(functools.partial(file.read, _BLOCK_BYTES), b'')


def _decompress_zstandard(file: Any) -> Iterator[bytes]:
  """Yields blocks; unlike zstandard's own file, it notices a missing end."""
  frame = None
  while data := file.read(_COMPRESSED_BYTES):
    while data:
      if frame is None:
        frame = zstandard.ZstdDecompressor(
          max_window_size=1 << 31  # 2 GB, as `zstd --long=31` writes
        ).decompressobj()
      yield frame.decompress(data)
      data = frame.unused_data
      if frame.eof:
        frame = None
  if frame is not None:
    raise EOFError('it ends inside a zstandard frame')


def _json_documents(
  path: str, texts: Iterator[str], counts: cleaning.Counts
) -> Iterator[list[str]]:
  for number, line in enumerate(_whole_lines(texts), 1):
    if not line or line.isspace():
      continue
    try:
      text = json.loads(line)['text']
      lines = cleaning.lines_of(text, counts)
    except (ValueError, LookupError, TypeError, RecursionError):
      if not counts.malformed_json:
        counts.first_malformed_json = f'{path}:{number}'
      counts.malformed_json += 1
      continue
    if lines:
      yield lines
      yield []


def _whole_lines(texts: Iterator[str]) -> Iterator[str]:
  parts, length = [], 0
  for text in texts:
    ending, *lines = text.split('\n')
    if length < _LONGEST_JSON_LINE:
      parts.append(ending)
      length += len(ending)
    if lines:
      yield ''.join(parts)
      yield from lines[:-1]
      parts, length = lines[-1:], len(lines[-1])
  yield ''.join(parts)
