"""A corpus as clean pieces of text, on disk between reading and tokenizing.

    batches = reader.documents(counts)
    spool.write(batches, 'runs/a/part/text.arrow', counts, reader.size())
    for batch in spool.read('runs/a/part/text.arrow'):
      batch['text'].to_pylist()  # of about a megabyte

A document is a hash of its first piece; a piece is at most 32 KB of UTF-8 and
ends with a line. Text is thus read and cleaned once, though vocabulary,
held-out split and shards need it one after the other. The file goes at the end.
"""

import contextlib
import datetime
import hashlib
import sys
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np
import pyarrow

from bertjax.corpus import cleaning
from bertjax.runs.progress_line import ProgressLine

PIECE_BYTES = 1 << 15
_RECORDS_BYTES = 1 << 20  # of text that is read and worked on together
_SCHEMA = pyarrow.schema(
  [
    ('document', pyarrow.int64()),
    ('piece', pyarrow.int64()),
    ('text', pyarrow.string()),
  ]
)
# Between reports; off a terminal every one is a line of its own.
_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.5, 30.0
_QUIET_SECONDS = 2.0  # shorter work reports nothing

Record = tuple[int, int, bytes]  # hash of the document, number of a piece, text


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


def write(
  batches: Iterator[list[str]],
  path: str,
  counts: cleaning.Counts | None = None,
  total: int = 0,
) -> np.ndarray:
  """Writes all pieces of documents, in their order.

  Args:
    batches: lists of lines; an empty list ends a document.
    path: of the file.
    counts: `file_bytes` are those that were read so far; None: says nothing.
    total: of them.

  Returns:
    int64[documents], their hashes.
  """
  documents: list[int] = []
  with open(path, 'wb') as sink, writer(sink, _SCHEMA) as file:
    pending: list[Record] = []
    size = 0
    pieces = _pieces(batches)
    if counts is not None:
      pieces = _reported(pieces, counts, total)
    for document, number, text in pieces:
      if number == 0:
        documents.append(document)
      pending.append((document, number, text))
      size += len(text)
      if size >= _RECORDS_BYTES:
        file.write_batch(_batch(pending))
        pending, size = [], 0
    if pending:
      file.write_batch(_batch(pending))
  return np.array(documents, np.int64)


def writer(sink: BinaryIO, schema: pyarrow.Schema) -> Any:
  """Returns what writes batches of compressed records."""
  options = pyarrow.ipc.IpcWriteOptions(compression='zstd')
  return pyarrow.ipc.new_stream(sink, schema, options=options)


def _batch(records: list[Record]) -> pyarrow.RecordBatch:
  return pyarrow.record_batch(
    [
      pyarrow.array(column, field.type)
      for column, field in zip(zip(*records, strict=True), _SCHEMA, strict=True)
    ],
    schema=_SCHEMA,
  )


def read(path: str) -> Iterator[pyarrow.RecordBatch]:
  """Yields what stands in a file, such as pieces, a megabyte at a time."""
  with (
    contextlib.closing(pyarrow.OSFile(path)) as source,
    pyarrow.ipc.open_stream(source) as file,
  ):
    yield from file


def _reported(
  pieces: Iterator[Any], counts: cleaning.Counts, total: int
) -> Iterator[Any]:
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
        f'reading the text: {done / max(total, 1):.0%}, '
        f'{speed / 1e6:.0f} MB/s, {left} left'
      )
    if due > start + _QUIET_SECONDS:
      line.show(f'reading the text: {time.monotonic() - start:.1f} s')


def _pieces(batches: Iterator[list[str]]) -> Iterator[tuple[int, int, bytes]]:
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
