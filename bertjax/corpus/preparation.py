"""Prepares a corpus: reads text once, makes its vocabulary, tokenizes it.

    reader = document_files.TextFiles('books/*.txt.gz')
    prepared = preparation.prepare(reader, 'runs/books/corpus', Training(8192))
    print(prepared.report())
    prepared.split('train').piece(0).tokens

All bad input is thus found, counted and reported before training, memory stays
flat, and a position in the data is a few numbers. A prepared corpus is a folder
with the files of `shards`, the vocabulary, `index.json`, and, written last,
`COMPLETED`.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import filelock

from bertjax.corpus import building, cleaning, shards, spool
from bertjax.corpus.wordpiece_training import Training
from bertjax.errors import UserError, expect
from bertjax.runs import output_files
from bertjax.text import vocabulary_file, whole_files
from bertjax.text.vocabulary import Vocabulary
from bertjax.values import Count, Name, Natural, Rate

_ELSEWHERE = 'another directory'
_FIX = 'prepare it anew, or set CORPUS_DIR to another'
# What index.json holds, see `whole_files.check`.
_FORM = {
  'format': int,
  'splits': Mapping[str, Mapping[str, Any]],
  'counts': Mapping[str, Any],
  'held_out_fraction': float | int,
  'vocabulary': str,
  'unknown': int,
}
_OPTIONAL = {'source': str, 'licence': str}

# And in it, of each split, of each of its files, and of what was read.
_SPLIT = {
  'documents': int,
  'pieces': int,
  'tokens': int,
  'files': Sequence[Mapping[str, Any]],
}
_FILE = {'name': Name, 'pieces': Count, 'tokens': Natural, 'bytes': Natural}
_READ: dict[str, Any] = {
  field.name: field.type for field in dataclasses.fields(cleaning.Counts)
}

_COUNTS = Mapping[str, int]
_REPORT = {
  'documents_read': int,
  'documents_kept': int,
  'tokens': int,
  'dropped': _COUNTS,
  'removed_lines': _COUNTS,
  'replaced': _COUNTS,
  'samples': Mapping[str, Sequence[str]],
  'seconds': float | int,
  'megabytes_read': float | int,
}


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A complete corpus.

  Attributes:
    path: its folder.
    index: `index.json`: 'source', what was read; 'licence' of it, if it is
      known; 'splits', each with its 'documents', 'pieces', 'tokens' and
      'files'; 'counts', the fields of `cleaning.Counts`; 'held_out_fraction';
      'vocabulary', its digest; 'unknown', how many of the tokens are [UNK].
    vocabulary: that of the ids.
  """

  path: str
  index: dict[str, Any]
  vocabulary: Vocabulary

  @property
  def splits(self) -> dict[str, dict[str, Any]]:
    return self.index['splits']

  def split(self, name: str) -> shards.Split:
    """Returns the pieces of 'train' or 'validation'."""
    return shards.Split(self.path, self.splits[name]['files'])

  def report(self) -> str:
    """Returns what was read and what was wrong with it, in a few lines."""
    counts = self.index['counts']
    held_out = self.splits['validation']['documents']
    documents, tokens = (
      sum(split[what] for split in self.splits.values())
      for what in ('documents', 'tokens')
    )
    report = [
      f'{documents:,} documents, {counts["lines"]:,} lines, {tokens:,} tokens '
      f'in {counts["files"]:,} files; {held_out:,} documents held out'
    ]
    if 'licence' in self.index:
      report.append(f'licence: {self.index["licence"]}')
    if not held_out and self.index['held_out_fraction']:
      report.append('fewer than three different documents: none is held out')
    known = cleaning.Counts(**{name: counts[name] for name in _READ})
    return '\n'.join([*report, *known.faults()])


def prepare(
  reader: spool.Reader,
  directory: str,
  vocabulary: Vocabulary | Training,
  held_out_fraction: Rate = 0.05,
) -> Prepared:
  """Reads a corpus into a folder below `directory`, or finds it there.

  Documents are held out by a hash of their first piece: equal documents are on
  the same side, and the choice depends on nothing else. If the fraction holds
  out nothing (or everything), then of three or more documents the one with the
  smallest hash is held out, and of fewer none.

  Args:
    reader: such as `document_files.TextFiles`.
    directory: on a local disk. Processes that prepare there at the same time
      wait for the first one; what is incomplete is written again.
    vocabulary: that of the ids, or one that is trained on the split 'train'.
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
  of = (
    vocabulary.key()
    if isinstance(vocabulary, Training)
    else building.digest(vocabulary)
  )
  key = json.dumps(
    [building.FORMAT, held_out_fraction, of, reader.fingerprint()]
  )
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
      if not (prepared := _find(path)):
        _make(reader, path, vocabulary, held_out_fraction)
  return prepared or load(path)


def _find(path: str) -> Prepared | None:
  """Returns the corpus if it is there and whole."""
  if not os.path.exists(path):
    return None
  try:
    prepared = load(path)
    for split in shards.SPLITS:
      prepared.split(split).check_files()
  except UserError as error:
    told = str(error).partition(';')[0]
    print(f'{told}: it is prepared anew', file=sys.stderr)
    return None
  return prepared


def is_complete(path: str) -> bool:
  """Returns whether a folder holds a prepared corpus."""
  return os.path.exists(os.path.join(path, building.COMPLETED))


def load(path: str) -> Prepared:
  """Opens a prepared corpus.

  Raises:
    UserError: it is none, is incomplete, or was altered.
  """
  where = os.path.join(path, building.INDEX)
  if not is_complete(path):
    begun = output_files.is_left_half_written(path) or os.path.exists(where)
    state = 'one that is not complete' if begun else 'none'
    raise UserError(
      f'expected a prepared corpus in {path}, got {state}; {_FIX}'
    )
  index = whole_files.read_object(where, _FIX) or {}
  whole_files.check(index, _FORM, where, _FIX)
  whole_files.check(index, _OPTIONAL, where, _FIX, complete=False)
  if index['format'] != building.FORMAT:
    raise UserError(
      f'expected a corpus of format {building.FORMAT} in {path}, got format '
      f'{index["format"]}, of another version of bertjax; {_FIX}'
    )
  _check_parts(index, where)
  parts = vocabulary_file.load(os.path.join(path, vocabulary_file.NAME))
  prepared = Prepared(path, index, Vocabulary(*parts))
  if building.digest(prepared.vocabulary) != index['vocabulary']:
    raise UserError(
      f'the vocabulary in {path} is not that of the corpus there; {_FIX}'
    )
  return prepared


def _check_parts(index: Mapping[str, Any], where: str) -> None:
  """Checks what stands within the parts of `index.json`, and their sums."""
  whole_files.check(index['counts'], _READ, where, _FIX)
  whole_files.check(
    index['splits'], dict.fromkeys(shards.SPLITS, Any), where, _FIX
  )
  total = 0
  for name in shards.SPLITS:
    split = index['splits'][name]
    whole_files.check(split, _SPLIT, where, _FIX)
    for file in split['files']:
      whole_files.check(file, _FILE, where, _FIX)
    names = [file['name'] for file in split['files']]
    sums = [
      sum(file[what] for file in split['files'])
      for what in ('pieces', 'tokens')
    ]
    total += sums[1]
    if (
      sums != [split['pieces'], split['tokens']]
      or not 0 <= split['documents'] <= sums[0]
      or len({*names}) < len(names)
      or not all(map(shards.is_name, names))
    ):
      raise UserError(
        f'{where} was altered: its files of {name} do not add up to its '
        f'documents, pieces and tokens; {_FIX}'
      )
  if not 0 <= index['unknown'] <= total:
    raise UserError(
      f'{where} was altered: {index["unknown"]:,} of {total:,} tokens are '
      f'[UNK]; {_FIX}'
    )


def read_report(path: str) -> dict[str, Any]:
  """Returns the `report.json` of `prepare_corpus`.

  Raises:
    UserError: it is not there, or has another form.
  """
  report = whole_files.read_object(path, _FIX) or {}
  whole_files.check(report, _REPORT, path, _FIX)
  return report


def _locked(path: str) -> filelock.AcquireReturnProxy:
  """Takes a lock, which a killed process frees where the system has locks."""
  lock = filelock.FileLock(path)
  try:
    return lock.acquire(blocking=False)
  except filelock.Timeout:
    print('waiting for a process that prepares this corpus', file=sys.stderr)
    return lock.acquire()


def _make(
  reader: spool.Reader,
  path: str,
  vocabulary: Vocabulary | Training,
  held_out_fraction: float,
) -> None:
  if output_files.is_left_half_written(path):
    told = 'a process that prepared this corpus was ended: it is prepared anew'
    print(told, file=sys.stderr)
  shutil.rmtree(path, ignore_errors=True)  # a damaged one
  with output_files.writing(path, _ELSEWHERE) as part:
    os.makedirs(part)
    building.build(reader, part, vocabulary, held_out_fraction)
