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

import collections
import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import Any

import filelock
import numpy as np
import pyarrow

from bertjax.corpus import (
  bulk_tokenizer,
  cleaning,
  sentences,
  shards,
  spool,
  wordpiece_training,
  workers,
)
from bertjax.errors import UserError, expect
from bertjax.runs import output_files
from bertjax.runs.progress_line import wait
from bertjax.text import vocabulary_file, whole_files
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary import Vocabulary
from bertjax.values import Count, Rate, check_fields

FORMAT = 3  # raise it if what is written here changes
INDEX, COMPLETED = 'index.json', 'COMPLETED'
_TEXT = 'text.arrow'
_ELSEWHERE = 'another directory'
_FIX = 'prepare it anew, or set CORPUS_DIR to another'
# Bytes of compressed text for which a further process is worth its start.
_PROCESS_BYTES = 1 << 23
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
# What index.json holds, see `whole_files.check`.
_FORM = {
  'format': int,
  'splits': Mapping[str, Mapping[str, Any]],
  'counts': Mapping[str, Any],
  'held_out_fraction': float | int,
  'vocabulary': str,
  'unknown': int,
}


@dataclasses.dataclass(frozen=True)
class Training:
  """A vocabulary that is to be trained on the corpus.

  Attributes:
    size: how many tokens.
    cased: False lower-cases text and strips accents first.
    min_frequency: see `wordpiece_training.train`.
  """

  size: Count
  cased: bool = False
  min_frequency: Count = 2

  def __post_init__(self) -> None:
    check_fields(self)


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A complete corpus.

  Attributes:
    path: its folder.
    index: `index.json`: 'splits', each with its 'documents', 'pieces',
      'tokens' and 'files'; 'counts', the fields of `cleaning.Counts`;
      'held_out_fraction'; 'vocabulary', its digest; 'unknown', how many of the
      tokens are [UNK].
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
    if not held_out and self.index['held_out_fraction']:
      report.append('fewer than three different documents: none is held out')
    return '\n'.join([*report, *_faults(counts)])


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
    dataclasses.astuple(vocabulary)
    if isinstance(vocabulary, Training)
    else _digest(vocabulary)
  )
  key = json.dumps([FORMAT, held_out_fraction, of, reader.fingerprint()])
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
  return os.path.exists(os.path.join(path, COMPLETED))


def load(path: str) -> Prepared:
  """Opens a prepared corpus.

  Raises:
    UserError: it is none, is incomplete, or was altered.
  """
  where = os.path.join(path, INDEX)
  if not is_complete(path):
    begun = output_files.is_left_half_written(path) or os.path.exists(where)
    state = 'one that is not complete' if begun else 'none'
    raise UserError(
      f'expected a prepared corpus in {path}, got {state}; {_FIX}'
    )
  index = whole_files.read_object(where, _FIX) or {}
  whole_files.check(index, _FORM, where, _FIX)
  if index['format'] != FORMAT:
    raise UserError(
      f'expected a corpus of format {FORMAT} in {path}, got format '
      f'{index["format"]}, of another version of bertjax; {_FIX}'
    )
  tokens, cased = vocabulary_file.load(os.path.join(path, vocabulary_file.NAME))
  prepared = Prepared(path, index, Vocabulary(tokens, cased))
  if _digest(prepared.vocabulary) != index['vocabulary']:
    raise UserError(
      f'the vocabulary in {path} is not that of the corpus there; {_FIX}'
    )
  return prepared


def _digest(vocabulary: Vocabulary) -> str:
  return vocabulary_file.digest_of(vocabulary.tokens, vocabulary.cased)


def _faults(counts: Mapping[str, Any]) -> list[str]:
  """Returns what was wrong with the text, for people."""
  return [
    f'{counts[name]:,} {what.format(**counts)}'
    for name, what in _FAULTS.items()
    if counts[name]
  ]


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
    counts, text = cleaning.Counts(), os.path.join(part, _TEXT)
    documents = spool.write(reader, text, counts)
    if not len(documents):
      found = '; '.join(
        [
          f'no document in the {counts.files} files',
          *_faults(dataclasses.asdict(counts)),
        ]
      )
      raise UserError(
        f'expected text in {reader}, found {found}; set TEXT_FILES '
        'or TEXT_COLUMN'
      )
    threshold = _threshold(documents, held_out_fraction)
    more = os.path.getsize(text) // _PROCESS_BYTES
    processes = min(workers.available(), 1 + more)
    if isinstance(vocabulary, Training):
      with wait('training the vocabulary'):
        vocabulary = _train(vocabulary, text, threshold, processes)
    with wait('tokenizing'):
      written = _tokenize(vocabulary, text, part, threshold, processes)
    os.remove(text)
    vocabulary_file.write(
      vocabulary.tokens,
      os.path.join(part, vocabulary_file.NAME),
      vocabulary.cased,
    )
    index = {
      'format': FORMAT,
      'source': str(reader),
      'held_out_fraction': held_out_fraction,
      'vocabulary': _digest(vocabulary),
      'counts': dataclasses.asdict(counts),
      **written,
    }
    output_files.write_json(os.path.join(part, INDEX), index, _ELSEWHERE)
    output_files.write_text(os.path.join(part, COMPLETED), '', _ELSEWHERE)


def _threshold(documents: np.ndarray, held_out_fraction: float) -> int:
  """Returns below which hash documents are held out."""
  threshold = int(held_out_fraction * 2**63)
  held_out = int((documents < threshold).sum())
  if threshold and (len(documents) < 3 or not 0 < held_out < len(documents)):
    several = len(documents) >= 3 and len(np.unique(documents)) > 1
    threshold = int(documents.min()) + 1 if several else 0
  return threshold


def _train(
  wanted: Training, text: str, threshold: int, processes: int
) -> Vocabulary:
  words = wordpiece_training.WordCounts()
  make = f'{__name__}:counter'
  arguments = {'cased': wanted.cased, 'threshold': threshold}
  with workers.mapper(make, arguments, processes) as over:
    for batch in over(spool.read(text)):
      found = (column.to_pylist() for column in batch.columns)
      words.add(dict(zip(*found, strict=True)))
  tokens = wordpiece_training.train(
    words.counts, wanted.size, wanted.min_frequency
  )
  return Vocabulary(tokens, wanted.cased)


def counter(
  cased: bool, threshold: int
) -> Callable[[pyarrow.RecordBatch], pyarrow.RecordBatch]:
  """Returns what counts the words of a batch of `spool.read`."""

  def count(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    kept = [
      text
      for document, text in zip(
        batch['document'].to_pylist(), batch['text'].to_pylist(), strict=True
      )
      if document >= threshold
    ]
    counts = wordpiece_training.count_words(kept, cased)
    return pyarrow.record_batch(
      {
        'word': pyarrow.array([*counts], pyarrow.string()),
        'count': pyarrow.array([*counts.values()], pyarrow.int64()),
      }
    )

  return count


def _tokenize(
  vocabulary: Vocabulary, text: str, folder: str, threshold: int, processes: int
) -> dict[str, Any]:
  """Writes the shards; returns 'splits' and 'unknown' of `Prepared.index`."""
  arguments = {'tokens': vocabulary.tokens, 'cased': vocabulary.cased}
  make = f'{__name__}:encoder'
  documents: collections.Counter[str] = collections.Counter()
  dtype = bulk_tokenizer.dtype_of(len(vocabulary.tokens))
  unknown = 0
  train, validation = (
    shards.Writer(folder, split, dtype) for split in shards.SPLITS
  )
  with (
    workers.mapper(make, arguments, processes) as over,
    train,
    validation,
  ):
    for batch in over(spool.read(text)):
      for number, piece in zip(
        batch['piece'].to_pylist(), shards.pieces(batch), strict=True
      ):
        held_out = piece.document < threshold
        (validation if held_out else train).add(*piece)
        documents[shards.SPLITS[held_out]] += number == 0
        unknown += int((piece.tokens == vocabulary.unk_id).sum())
  return {
    'splits': {
      split: {
        'documents': documents[split],
        **{
          what: sum(file[what] for file in writer.files)
          for what in ('pieces', 'tokens')
        },
        'files': writer.files,
      }
      for split, writer in zip(shards.SPLITS, (train, validation), strict=True)
    },
    'unknown': unknown,
  }


def encoder(
  tokens: list[str], cased: bool
) -> Callable[[pyarrow.RecordBatch], pyarrow.RecordBatch]:
  """Returns what makes ids of the text in a batch of `spool.read`."""
  tokenizer = bulk_tokenizer.BulkTokenizer(Tokenizer(tokens, cased))

  def encode(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    texts = [sentences.split(text) for text in batch['text'].to_pylist()]
    ids, ends = zip(*tokenizer.encode(texts), strict=True)
    return pyarrow.record_batch(
      {
        'document': batch['document'],
        'piece': batch['piece'],
        'tokens': shards.list_array(ids),
        'sentence_ends': shards.list_array(ends),
      }
    )

  return encode
