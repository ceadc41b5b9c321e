"""The files of a prepared corpus: pieces of documents, and where each begins.

    index = text_store.write(reader, 'runs/a/corpus/partial', threshold=2**59)
    index['splits']['train']   # {'documents': 9, 'pieces': 10, 'bytes': 201892}
    rows = text_store.read_rows('runs/a/corpus/partial', 'train')
    document, offset, length = rows[0]

`<split>.text` holds the pieces, each at most 32 KB of UTF-8 and followed by a
blank line. `<split>.rows` holds three little-endian int64 per piece: its
document (a hash), its offset and its length in bytes. Any piece can thus be
read by its number, and a permutation of the numbers is a perfect shuffle.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import os
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bertjax.data import cleaning
from bertjax.runs.progress_line import ProgressLine

FORMAT = 2  # raise it if readers, cleaning or this module write something else
SPLITS = ('train', 'validation')
PIECE_BYTES = 1 << 15
_ROW = struct.Struct('<3q')
_SEPARATOR = b'\n\n'
# Between reports; off a terminal every one is a line of its own.
_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.5, 30.0
_QUIET_SECONDS = 2.0  # shorter work reports nothing

Piece = tuple[int, int, bytes]  # hash of the document, number within it, text


@runtime_checkable
class Reader(Protocol):
  """Text to prepare; `str(reader)` names it in messages."""

  def documents(self, counts: cleaning.Counts) -> Iterator[list[str]]:
    """Yields lists of lines; an empty list ends a document.

    The order is fixed, and memory stays flat. Adds to `counts` what was read.
    """

  def fingerprint(self) -> Any:
    """Returns JSON that changes when the text may have changed."""

  def size(self) -> int:
    """Returns the bytes that `documents` reads."""


def text_path(path: str, split: str) -> str:
  """Returns the file with the text of a split."""
  return os.path.join(path, f'{split}.text')


def rows_path(path: str, split: str) -> str:
  """Returns the file that says where the pieces of a split begin."""
  return os.path.join(path, f'{split}.rows')


def read_rows(path: str, split: str) -> np.ndarray:
  """Returns int64[pieces, 3]: document, offset and length in bytes."""
  where = rows_path(path, split)
  if not os.path.getsize(where):  # an empty file cannot be mapped
    return np.zeros((0, 3), np.int64)
  # Mapped, because every stream of every process holds them.
  return np.memmap(where, '<i8', mode='r').reshape(-1, 3)


def is_whole(path: str, splits: dict[str, dict[str, int]]) -> bool:
  """Returns whether the files have the sizes given in the index."""
  return all(
    os.path.getsize(text_path(path, split))
    == tally['bytes'] + len(_SEPARATOR) * tally['pieces']
    and os.path.getsize(rows_path(path, split)) == _ROW.size * tally['pieces']
    for split, tally in splits.items()
  )


def write(reader: Reader, path: str, threshold: int) -> dict[str, Any]:
  """Writes all pieces; a document whose hash is below `threshold` is held out.

  Args:
    reader: what to write.
    path: a directory, emptied first.
    threshold: 0 to 2**63.

  Returns:
    {'splits': {split: {'documents', 'pieces', 'bytes' of text}}, 'counts': the
    fields of `cleaning.Counts`}.
  """
  shutil.rmtree(path, ignore_errors=True)
  os.makedirs(path)
  counts = cleaning.Counts()
  splits = {
    split: {'documents': 0, 'pieces': 0, 'bytes': 0} for split in SPLITS
  }
  with contextlib.ExitStack() as stack:
    files = {
      split: [
        stack.enter_context(open(place(path, split), 'wb'))
        for place in (text_path, rows_path)
      ]
      for split in SPLITS
    }
    pieces = _pieces(reader.documents(counts))
    for document, piece, text in _reported(pieces, counts, reader.size()):
      split = 'validation' if document < threshold else 'train'
      text_file, rows_file = files[split]
      rows_file.write(_ROW.pack(document, text_file.tell(), len(text)))
      text_file.write(text + _SEPARATOR)
      tally = splits[split]
      tally['documents'] += piece == 0
      tally['pieces'] += 1
      tally['bytes'] += len(text)
    for file in (file for pair in files.values() for file in pair):
      file.flush()
      os.fsync(file.fileno())
  return {'splits': splits, 'counts': dataclasses.asdict(counts)}


def _reported(
  pieces: Iterator[Piece], counts: cleaning.Counts, total: int
) -> Iterator[Piece]:
  """Yields the pieces, and reports at times how many of all bytes are read."""
  start = time.monotonic()
  due = start + _QUIET_SECONDS
  with ProgressLine(sys.stderr) as line:
    for piece in pieces:
      yield piece
      if (now := time.monotonic()) < due:
        continue
      due = now + (_TERMINAL_SECONDS if sys.stderr.isatty() else _PLAIN_SECONDS)
      done = counts.file_bytes
      speed = done / (now - start)
      left = datetime.timedelta(seconds=int((total - done) / max(speed, 1)))
      line.show(
        f'preparing the corpus: {done / max(total, 1):.0%}, '
        f'{speed / 1e6:.0f} MB/s, {left} left'
      )
    if due > start + _QUIET_SECONDS:
      line.show(f'preparing the corpus: {time.monotonic() - start:.1f} s')


def _pieces(batches: Iterator[list[str]]) -> Iterator[Piece]:
  """Divides documents into pieces, each of which ends with a line.

  Args:
    batches: lists of lines; an empty list ends a document.
  """
  document, piece, pending = 0, 0, b''
  for lines in batches:
    if lines:
      text = '\n'.join(lines).encode()
      pending = pending + b'\n' + text if pending else text
    start = 0
    while len(pending) - start > (PIECE_BYTES if lines else 0):
      end = len(pending)
      if end - start > PIECE_BYTES:
        end = pending.rindex(b'\n', start, start + PIECE_BYTES + 1)
      text = pending[start:end]
      if piece == 0:
        # 63 bits, the same in every process and version of Python.
        digest = hashlib.blake2b(text, digest_size=8).digest()
        document = int.from_bytes(digest, 'big') >> 1
      yield document, piece, text
      piece += 1
      start = end + 1
    pending = pending[start:]
    if not lines:
      piece = 0
