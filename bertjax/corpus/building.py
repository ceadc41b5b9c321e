"""Makes token shards and their vocabulary of documents.

    building.build(reader, 'runs/books/part', Training(8192))

Into a folder: the shards, the vocabulary, `index.json`, and `COMPLETED`, which
is written last. What `index.json` holds: see `preparation.Prepared`.
"""

import collections
import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

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
from bertjax.corpus.steps import Steps, Tally
from bertjax.corpus.wordpiece_training import Training
from bertjax.errors import UserError
from bertjax.runs import output_files
from bertjax.runs.progress_line import wait
from bertjax.text import vocabulary_file
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary import Vocabulary

FORMAT = 3  # raise it if what is written here changes
INDEX, COMPLETED = 'index.json', 'COMPLETED'
_TEXT, _SIGNATURES = 'text.arrow', 'signatures'
_ELSEWHERE = 'another directory'
# Bytes of text for which a further process is worth its start.
_PROCESS_BYTES = 1 << 24


def build(
  reader: spool.Reader,
  folder: str,
  vocabulary: Vocabulary | Training,
  held_out_fraction: float = 0.05,
  steps: Steps | None = None,
  report: Callable[[dict[str, Any], Tally], None] | None = None,
) -> None:
  """Writes a corpus into a folder, from text to `COMPLETED`.

  Args:
    reader: its documents.
    folder: is there; what a build that was ended left in it is overwritten.
    vocabulary: that of the ids, or one that is trained on the split 'train'.
    held_out_fraction: see `preparation.prepare`.
    steps: what is done to documents before; None: nothing.
    report: is called with `index.json` and what the steps counted, before
      `COMPLETED` is written.

  Raises:
    UserError: there is no document, or none is left.
  """
  counts, text = cleaning.Counts(), os.path.join(folder, _TEXT)
  more = reader.size() // _PROCESS_BYTES
  processes = min(workers.available(), 1 + more)
  with contextlib.ExitStack() as stack:
    documents, tally = reader.documents(counts), None
    if steps:
      place = os.path.join(folder, _SIGNATURES)
      stack.callback(shutil.rmtree, place, ignore_errors=True)
      documents, tally = stack.enter_context(
        steps.run(documents, place, processes)
      )
    hashes = spool.write(documents, text, counts, reader.size())
    if not len(hashes):
      raise _nothing(reader, counts, tally)
    kept = np.ones(len(hashes), bool)
    if tally:
      with wait('looking for near duplicates'):
        kept = tally.near()
  pieces = _Pieces(text, kept, _threshold(hashes[kept], held_out_fraction))
  if isinstance(vocabulary, Training):
    with wait('training the vocabulary'):
      vocabulary = _train(vocabulary, pieces, processes)
  with wait('tokenizing'):
    written = _tokenize(vocabulary, pieces, folder, processes)
  os.remove(text)
  vocabulary_file.write(
    vocabulary.tokens,
    os.path.join(folder, vocabulary_file.NAME),
    vocabulary.cased,
  )
  index = {
    'format': FORMAT,
    'source': str(reader),
    'held_out_fraction': held_out_fraction,
    'vocabulary': digest(vocabulary),
    'counts': dataclasses.asdict(counts),
    **written,
  }
  output_files.write_json(os.path.join(folder, INDEX), index, _ELSEWHERE)
  if tally and report:
    report(index, tally)
  output_files.write_text(os.path.join(folder, COMPLETED), '', _ELSEWHERE)


def digest(vocabulary: Vocabulary) -> str:
  """Returns what tells a vocabulary from others."""
  return vocabulary_file.digest_of(vocabulary.tokens, vocabulary.cased)


def _nothing(
  reader: spool.Reader, counts: cleaning.Counts, tally: Tally | None
) -> UserError:
  if tally and tally.read:
    rules = ', '.join(f'{n:,} by {x}' for x, n in tally.dropped.most_common())
    return UserError(
      f'no document of {tally.read:,} is left: {rules}; set that rule off, or '
      'TEXT_FILES to other text'
    )
  found = '; '.join(
    [f'no document in the {counts.files} files', *counts.faults()]
  )
  return UserError(
    f'expected text in {reader}, found {found}; set TEXT_FILES or TEXT_COLUMN'
  )


@dataclasses.dataclass(frozen=True)
class _Pieces:
  """The pieces of text that stay.

  Attributes:
    path: of the file, see `spool`.
    kept: bool[documents], which of them stay.
    threshold: below which hash a document is held out.
  """

  path: str
  kept: np.ndarray
  threshold: int

  def read(self) -> Iterator[pyarrow.RecordBatch]:
    """Yields those of the documents that stay."""
    document = -1
    for batch in spool.read(self.path):
      first = batch['piece'].to_numpy() == 0
      numbers = document + np.cumsum(first)
      document = int(numbers[-1])
      stays = self.kept[numbers]
      yield batch if stays.all() else batch.filter(pyarrow.array(stays))


def _threshold(documents: np.ndarray, held_out_fraction: float) -> int:
  """Returns below which hash documents are held out."""
  threshold = int(held_out_fraction * 2**63)
  held_out = int((documents < threshold).sum())
  if threshold and (len(documents) < 3 or not 0 < held_out < len(documents)):
    several = len(documents) >= 3 and len(np.unique(documents)) > 1
    threshold = int(documents.min()) + 1 if several else 0
  return threshold


def _train(wanted: Training, pieces: _Pieces, processes: int) -> Vocabulary:
  words = wordpiece_training.WordCounts()
  make = f'{__name__}:counter'
  arguments = {'cased': wanted.cased, 'threshold': pieces.threshold}
  with workers.mapper(make, arguments, processes) as over:
    for batch in over(pieces.read()):
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
  vocabulary: Vocabulary, pieces: _Pieces, folder: str, processes: int
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
    for batch in over(pieces.read()):
      for number, piece in zip(
        batch['piece'].to_pylist(), shards.pieces(batch), strict=True
      ):
        held_out = piece.document < pieces.threshold
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
