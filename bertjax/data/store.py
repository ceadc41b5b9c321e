"""The records of a prepared corpus: pieces of documents in 2 x 64 files.

    index = store.write(reader, 'runs/books/corpus/partial', threshold=2**59)
    index['splits']['train'][0]
    # {'documents': 9, 'pieces': 9, 'bytes': 61234, 'size': 61702}

Each record is a `tf.train.Example` {document: int64, text: bytes}. A document
is stored as pieces of at most 32 KB, spread evenly over the files of its split.
Source: ours.
"""

import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from bertjax.data import cleaning, progress

FORMAT = 1  # grows when readers, cleaning or this file write something else
SPLITS = ('train', 'validation')
FILES = 64  # of a split: the most streams that can each have files of their own
PIECE_BYTES = 1 << 15
_RECORD_OVERHEAD = 16  # bytes around a TFRecord: its length and two checksums


def write(reader, path: str, threshold: int) -> dict[str, Any]:
  """Writes all records; a document is a hash, held out below the threshold.

  Args:
    reader: has `documents(counts)` and `size()`.
    path: a directory, emptied first.
    threshold: 0 to 2**63.

  Returns:
    {'splits': {split: [file, ...]}, 'counts': of the cleaning, 'smallest' and
    'largest': document}; a file is {'documents' that begin in it, 'pieces',
    'bytes' of text, 'size' on disk}. Without any document 'largest' is -1.
  """
  shutil.rmtree(path, ignore_errors=True)
  os.makedirs(path)
  counts = cleaning.Counts()
  smallest, largest = 2**63, -1
  splits = {
      split: [
          {'documents': 0, 'pieces': 0, 'bytes': 0, 'size': 0}
          for _ in range(FILES)
      ]
      for split in SPLITS
  }
  show = progress.Progress('preparing the corpus', reader.size())
  with contextlib.ExitStack() as stack:
    writers = {
        (split, number): stack.enter_context(
            tf.io.TFRecordWriter(file_path(path, split, number))
        )
        for split in SPLITS
        for number in range(FILES)
    }
    for document, piece, text in _pieces(reader.documents(counts)):
      split = 'validation' if document < threshold else 'train'
      number = (document + piece) % FILES
      record = _example(document, text)
      writers[split, number].write(record)
      file = splits[split][number]
      file['documents'] += piece == 0
      file['pieces'] += 1
      file['bytes'] += len(text)
      file['size'] += len(record) + _RECORD_OVERHEAD
      smallest, largest = min(smallest, document), max(largest, document)
      show.update(counts.file_bytes)
    show.close()
  return {
      'splits': splits,
      'counts': dataclasses.asdict(counts),
      'smallest': smallest,
      'largest': largest,
  }


def file_path(path: str, split: str, number: int) -> str:
  """Returns the path of a file of a split."""
  return os.path.join(path, f'{split}-{number:05d}-of-{FILES:05d}.tfrecord')


def _pieces(batches: Iterator[list[str]]) -> Iterator[tuple[int, int, bytes]]:
  """Yields (document, number of the piece, text), cut at the ends of lines.

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
        document = _hash(text)
      yield document, piece, text
      piece += 1
      start = end + 1
    pending = pending[start:]
    if not lines:
      piece = 0


def _hash(text: bytes) -> int:
  """Returns 63 bits that are the same in every process and version."""
  digest = hashlib.blake2b(text, digest_size=8).digest()
  return int.from_bytes(digest, 'big') >> 1


def _example(document: int, text: bytes) -> bytes:
  features = {
      'document': tf.train.Feature(
          int64_list=tf.train.Int64List(value=[document])
      ),
      'text': tf.train.Feature(bytes_list=tf.train.BytesList(value=[text])),
  }
  return tf.train.Example(
      features=tf.train.Features(feature=features)
  ).SerializeToString(deterministic=True)
