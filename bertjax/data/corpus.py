"""Prepares a corpus: reads text once, cleans it, stores it for random access.

    reader = document_files.TextFiles('books/*.txt.gz')
    prepared = corpus.prepare(reader, 'runs/books/corpus')
    print(prepared.report())
    for text in prepared.texts('train'):
      ...  # lines, joined by newlines

All bad input is thus found, counted and reported before training, memory stays
flat, and a position in the data is a few numbers. A store is the directory
`<directory>/<fingerprint>` with the files of `text_store` and `index.json`.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import filelock
import numpy as np

from bertjax.data import cleaning, text_store
from bertjax.errors import UserError, expect
from bertjax.runs import output_files

_ELSEWHERE = 'another directory'
# Field of `cleaning.Counts` -> what it counts, if it counts any.
_FAULTS = {
  'empty_files': 'files without text',
  'left_out': 'files left out, of which the first: {first_left_out}',
  'invalid_characters': 'invalid characters, replaced by U+FFFD',
  'nuls': 'NUL characters, removed',
  'long_lines': (
    f'lines above {cleaning.LONGEST_LINE:,} characters, cut at white space'
  ),
  'malformed': (
    'lines or rows without a text, skipped; the first is {first_malformed}'
  ),
}


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A complete store.

  Attributes:
    path: its directory.
    index: `index.json`: what `text_store.write` returned, and
      held_out_fraction.
  """

  path: str
  index: dict[str, Any]

  @property
  def splits(self) -> dict[str, dict[str, int]]:
    """Split -> its 'documents', the 'pieces' of them and 'bytes' of text."""
    return self.index['splits']

  def texts(self, split: str) -> Iterator[str]:
    """Yields the text of each piece in the order of the files."""
    with open(text_store.text_path(self.path, split), 'rb') as file:
      for _, offset, length in text_store.read_rows(self.path, split):
        file.seek(offset)
        yield file.read(length).decode()

  def report(self) -> str:
    """Returns what was read and what was wrong with it, in a few lines."""
    counts = self.index['counts']
    held_out = self.splits['validation']['documents']
    documents, size = (
      sum(split[what] for split in self.splits.values())
      for what in ('documents', 'bytes')
    )
    report = [
      f'{documents:,} documents, {counts["lines"]:,} lines, '
      f'{size / 1e6:,.1f} MB of text in {counts["files"]:,} files; '
      f'{held_out:,} documents held out'
    ]
    if not held_out and self.index['held_out_fraction']:
      report.append('fewer than three different documents: none is held out')
    return '\n'.join([*report, *_faults(counts)])


def prepare(
  reader: text_store.Reader, directory: str, held_out_fraction: float = 0.05
) -> Prepared:
  """Reads a corpus into a store below `directory`, or finds it there.

  Documents are held out by a hash of their first piece: equal documents are on
  the same side, and the choice depends on nothing else. If the fraction holds
  out nothing (or everything), then of three or more documents the one with the
  smallest hash is held out, and of fewer none.

  Args:
    reader: such as `document_files.TextFiles`.
    directory: on a local disk. Processes that prepare there at the same time
      wait for the first one; an incomplete store is written again.
    held_out_fraction: share of the documents in the split 'validation'; 0
      holds out nothing.

  Raises:
    UserError: nothing to read, an unreadable file, or a full disk.
  """
  share = 'a share of at least 0 and below 1 of the documents to hold out'
  valid = 0 <= held_out_fraction < 1
  expect(valid, share, held_out_fraction, 'held_out_fraction')
  local = 'a folder on a local disk for the prepared corpus'
  expect('://' not in directory, local, directory, 'another directory')
  key = json.dumps([text_store.FORMAT, held_out_fraction, reader.fingerprint()])
  path = os.path.join(
    directory, hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
  )
  if prepared := _find(path):
    return prepared
  what = f'the prepared corpus to {directory}'
  with output_files.explain_failure(what, _ELSEWHERE):
    os.makedirs(directory, exist_ok=True)
    with _locked(f'{path}.lock'):
      # Whoever held the lock may have written it.
      return _find(path) or _make(reader, path, held_out_fraction)


def _faults(counts: Mapping[str, Any]) -> list[str]:
  """Returns what was wrong with the text, for people."""
  return [
    f'{counts[name]:,} {what.format(**counts)}'
    for name, what in _FAULTS.items()
    if counts[name]
  ]


def _find(path: str) -> Prepared | None:
  """Returns the store at `path` if it is there and complete."""
  try:
    with open(os.path.join(path, 'index.json'), encoding='utf-8') as file:
      prepared = Prepared(path, json.load(file))
    whole = text_store.is_whole(path, prepared.index['splits'])
  except (OSError, json.JSONDecodeError):
    return None
  return prepared if whole else None


def _locked(path: str) -> filelock.AcquireReturnProxy:
  """Takes a lock, which a killed process frees where the system has locks."""
  lock = filelock.FileLock(path)
  try:
    return lock.acquire(blocking=False)
  except filelock.Timeout:
    print('waiting for a process that prepares this corpus', file=sys.stderr)
    return lock.acquire()


def _make(
  reader: text_store.Reader, path: str, held_out_fraction: float
) -> Prepared:
  if output_files.is_left_half_written(path):
    told = 'a process that prepared this corpus was ended: it is prepared anew'
    print(told, file=sys.stderr)
  threshold = int(held_out_fraction * 2**63)
  with output_files.writing(path, _ELSEWHERE) as part:
    index = text_store.write(reader, part, threshold)
    documents = [split['documents'] for split in index['splits'].values()]
    if not any(documents):
      counts = index['counts']
      found = '; '.join(
        [f'no document in the {counts["files"]} files', *_faults(counts)]
      )
      raise UserError(
        f'expected text in {reader}, found {found}; set TEXT_FILES '
        'or TEXT_COLUMN'
      )
    if threshold and (sum(documents) < 3 or not all(documents)):
      rows = [text_store.read_rows(part, split) for split in text_store.SPLITS]
      hashes = np.unique(np.concatenate(rows)[:, 0])
      several = len(hashes) > 1 and sum(documents) >= 3
      threshold = int(hashes[0]) + 1 if several else 0
      index = text_store.write(reader, part, threshold)
    index['held_out_fraction'] = held_out_fraction
    output_files.write_text(
      os.path.join(part, 'index.json'), json.dumps(index), _ELSEWHERE
    )
    shutil.rmtree(path, ignore_errors=True)  # a damaged store
  return Prepared(path, index)
