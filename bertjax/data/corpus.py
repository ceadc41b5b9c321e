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
from collections.abc import Iterator
from typing import Any

import filelock

from bertjax.data import cleaning, text_store
from bertjax.errors import UserError
from bertjax.runs import output_files

_ELSEWHERE = 'another directory'


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

  def documents(self, split: str) -> int:
    """Returns the number of documents."""
    return self.index['splits'][split]['documents']

  def pieces(self, split: str) -> int:
    """Returns the number of pieces that the documents are cut into."""
    return self.index['splits'][split]['pieces']

  def bytes(self, split: str) -> int:
    """Returns the bytes of text, in UTF-8."""
    return self.index['splits'][split]['bytes']

  def texts(self, split: str) -> Iterator[str]:
    """Yields the text of each piece in the order of the files."""
    with open(text_store.text_path(self.path, split), 'rb') as file:
      for _, offset, length in text_store.read_rows(self.path, split):
        file.seek(offset)
        yield file.read(length).decode()

  def report(self) -> str:
    """Returns what was read and what was wrong with it, in a few lines."""
    counts = cleaning.Counts(**self.index['counts'])
    train, held_out = self.documents('train'), self.documents('validation')
    megabytes = (self.bytes('train') + self.bytes('validation')) / 1e6
    report = [
      f'{train + held_out:,} documents, {counts.lines:,} lines, '
      f'{megabytes:,.1f} MB of text in {counts.files:,} files; '
      f'{held_out:,} documents held out'
    ]
    if not held_out and self.index['held_out_fraction']:
      report.append('fewer than three different documents: none is held out')
    for count, what in (
      (counts.empty_files, 'files without text'),
      (counts.invalid_characters, 'invalid characters, replaced by U+FFFD'),
      (counts.nuls, 'NUL characters, removed'),
      (
        counts.long_lines,
        f'lines above {cleaning.LONGEST_LINE:,} characters, cut at white space',
      ),
      (
        counts.malformed_json,
        'lines of JSON files without a text, skipped; '
        f'the first is {counts.first_malformed_json}',
      ),
    ):
      if count:
        report.append(f'{count:,} {what}')
    return '\n'.join(report)


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
  if not 0 <= held_out_fraction < 1:
    raise UserError(
      f'expected a share of at least 0 and below 1 of the documents to hold '
      f'out, got {held_out_fraction}; set held_out_fraction'
    )
  if '://' in directory:
    raise UserError(
      f'expected a folder on a local disk for the prepared corpus, got '
      f'{directory}; set another directory'
    )
  key = json.dumps([text_store.FORMAT, held_out_fraction, reader.fingerprint()])
  path = os.path.join(
    directory, hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
  )
  prepared = _find(path)
  if prepared:
    return prepared
  what = f'the prepared corpus to {directory}'
  with output_files.explain_failure(what, _ELSEWHERE):
    os.makedirs(directory, exist_ok=True)
    with _locked(f'{path}.lock'):
      prepared = _find(path)  # whoever held the lock may have written it
      return prepared or _make(reader, path, held_out_fraction)


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
  """Takes a lock, which the system frees even if the process is killed."""
  lock = filelock.FileLock(path)
  try:
    return lock.acquire(blocking=False)
  except filelock.Timeout:
    print('waiting for a process that prepares this corpus', file=sys.stderr)
    return lock.acquire()


def _make(
  reader: text_store.Reader, path: str, held_out_fraction: float
) -> Prepared:
  threshold = int(held_out_fraction * 2**63)
  with output_files.writing(path, _ELSEWHERE) as part:
    index = text_store.write(reader, part, threshold)
    if index['largest'] < 0:
      raise UserError(_nothing(reader, index['counts']))
    better = _better_threshold(index, threshold)
    if better != threshold:  # rare: there are few documents
      index = text_store.write(reader, part, better)
    index['held_out_fraction'] = held_out_fraction
    output_files.write_text(
      os.path.join(part, 'index.json'), json.dumps(index), _ELSEWHERE
    )
    shutil.rmtree(path, ignore_errors=True)  # a damaged store
  return Prepared(path, index)


def _better_threshold(index: dict[str, Any], threshold: int) -> int:
  """Returns a threshold that leaves neither split empty, or 0."""
  train, held_out = (
    index['splits'][split]['documents'] for split in text_store.SPLITS
  )
  if threshold == 0 or (train + held_out >= 3 and train and held_out):
    return threshold
  if train + held_out >= 3 and index['smallest'] < index['largest']:
    return index['smallest'] + 1
  return 0


def _nothing(reader: text_store.Reader, counts: dict[str, Any]) -> str:
  because = ''
  if counts['malformed_json']:
    because = (
      ': the first line that is not a JSON object with a string "text" is '
      f'{counts["first_malformed_json"]}'
    )
  return (
    f'expected text, found no document in the {counts["files"]} files of '
    f'{reader}{because}; set TEXT_FILES'
  )
