"""The pieces of text that stay: their words counted, and made into shards.

kept = Pieces('part/text.arrow', np.ones(documents, bool),
              Hashes.of(hashes, share=0.05).threshold())
with workers.Pool(2) as pool:
  vocabulary = train(wanted, count(wanted, kept, pool))
  tokenize(vocabulary, kept, 'part', pool)
"""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow

from bertjax.corpus import (
  bulk_tokenizer,
  byte_level_training,
  sentences,
  shards,
  spool,
  wordpiece_training,
  workers,
)
from bertjax.corpus.wordpiece_training import Training
from bertjax.text.byte_level import Rules
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary import Vocabulary

_PARTS = ('tokens', 'cased', 'rules')  # of a vocabulary, for `encoder`


@dataclasses.dataclass(frozen=True)
class Pieces:
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
      if stays.all():
        yield batch
      elif stays.any():
        yield batch.filter(pyarrow.array(stays))


@dataclasses.dataclass(frozen=True)
class Hashes:
  """What is known of the hashes of documents, to hold some of them out.

  Attributes:
    share: of the documents that is to be held out.
    count: how many documents there are.
    below: how many of them have a hash below that share of all hashes.
    smallest: hash; of no document 2**63.
    largest: hash.
  """

  share: float
  count: int = 0
  below: int = 0
  smallest: int = 1 << 63
  largest: int = 0

  @classmethod
  def of(cls, documents: np.ndarray, share: float) -> 'Hashes':
    """Looks at int64[documents]."""
    if not len(documents):
      return cls(share)
    return cls(
      share,
      len(documents),
      int((documents < int(share * 2**63)).sum()),
      int(documents.min()),
      int(documents.max()),
    )

  def __add__(self, other: 'Hashes') -> 'Hashes':
    return Hashes(
      self.share,
      self.count + other.count,
      self.below + other.below,
      min(self.smallest, other.smallest),
      max(self.largest, other.largest),
    )

  def threshold(self) -> int:
    """Returns below which hash documents are held out."""
    threshold = int(self.share * 2**63)
    if threshold and (self.count < 3 or not 0 < self.below < self.count):
      several = self.count >= 3 and self.smallest < self.largest
      threshold = self.smallest + 1 if several else 0
    return threshold


def count(
  wanted: Training, pieces: Pieces, pool: workers.Pool
) -> wordpiece_training.WordCounts:
  """Counts the words of the documents that are not held out."""
  words = wordpiece_training.WordCounts()
  make = f'{__name__}:counter'
  arguments = {
    'cased': wanted.cased,
    'threshold': pieces.threshold,
    'tokenizer': wanted.tokenizer,
  }
  for batch in pool.map(make, arguments, pieces.read()):
    words.add(counted(batch))
  return words


def counted(batch: pyarrow.RecordBatch) -> dict[str, int]:
  """Returns what a `counter` counted."""
  columns = (column.to_pylist() for column in batch.columns)
  return dict(zip(*columns, strict=True))


def train(wanted: Training, words: wordpiece_training.WordCounts) -> Vocabulary:
  """Trains the vocabulary that is wanted."""
  if wanted.tokenizer == 'bpe':
    return byte_level_training.train(wanted, words.counts)
  tokens = wordpiece_training.train(
    words.counts, wanted.size, wanted.min_frequency
  )
  return Vocabulary(tokens, wanted.cased)


def counter(
  cased: bool, threshold: int, tokenizer: str = 'wordpiece'
) -> Callable[[pyarrow.RecordBatch], pyarrow.RecordBatch]:
  """Returns what counts the words of a batch of `spool.read`."""
  count_words = wordpiece_training.count_words
  if tokenizer == 'bpe':
    count_words = byte_level_training.count_words

  def count(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    texts = batch['text'].to_pylist()
    if tokenizer == 'bpe':  # whose words end with a sentence, as in `encoder`
      texts = [sentences.split(text) for text in texts_of(batch)]
    kept = [
      text
      for document, text in zip(
        batch['document'].to_pylist(), texts, strict=True
      )
      if document >= threshold
    ]
    counts = count_words(kept, cased)
    return pyarrow.record_batch(
      {
        'word': pyarrow.array([*counts], pyarrow.string()),
        'count': pyarrow.array([*counts.values()], pyarrow.int64()),
      }
    )

  return count


def tokenize(
  vocabulary: Vocabulary,
  pieces: Pieces,
  folder: str,
  pool: workers.Pool,
  of: str = '',
) -> dict[str, Any]:
  """Writes shards.

  Args:
    vocabulary: that of the ids.
    pieces: the text.
    folder: gets the files.
    pool: works on it.
    of: goes into their names, behind the split.

  Returns:
    'splits' and 'unknown' of `Prepared.index`.
  """
  arguments = dict(zip(_PARTS, vocabulary.parts, strict=False))
  make = f'{__name__}:encoder'
  documents: collections.Counter[str] = collections.Counter()
  dtype = bulk_tokenizer.dtype_of(len(vocabulary.tokens))
  unknown = 0
  writers = [shards.Writer(folder, x + of, dtype) for x in shards.SPLITS]
  with contextlib.ExitStack() as stack:
    for writer in writers:
      stack.enter_context(writer)
    for batch in pool.map(make, arguments, pieces.read()):
      for number, piece in zip(
        batch['piece'].to_pylist(), shards.pieces(batch), strict=True
      ):
        held_out = piece.document < pieces.threshold
        writers[held_out].add(*piece)
        documents[shards.SPLITS[held_out]] += number == 0
        unknown += int((piece.tokens == vocabulary.unk_id).sum())
  return {
    'splits': {
      split: _split(documents[split], writer.files)
      for split, writer in zip(shards.SPLITS, writers, strict=True)
    },
    'unknown': unknown,
  }


def texts_of(batch: pyarrow.RecordBatch) -> list[str]:
  """Returns the pieces; what goes on in a document begins with a new line."""
  pieces = zip(
    batch['piece'].to_pylist(), batch['text'].to_pylist(), strict=True
  )
  return [f'\n{text}' if number else text for number, text in pieces]


def joined(written: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Returns what `tokenize` returned for parts of a corpus as that of all."""
  splits = {}
  for split in shards.SPLITS:
    parts = [part['splits'][split] for part in written]
    files = [file for part in parts for file in part['files']]
    splits[split] = _split(sum(part['documents'] for part in parts), files)
  return {'splits': splits, 'unknown': sum(x['unknown'] for x in written)}


def _split(documents: int, files: list[dict[str, Any]]) -> dict[str, Any]:
  return {
    'documents': documents,
    'pieces': sum(file['pieces'] for file in files),
    'tokens': sum(file['tokens'] for file in files),
    'files': files,
  }


def encoder(
  tokens: list[str], cased: bool, rules: Rules | None = None
) -> Callable[[pyarrow.RecordBatch], pyarrow.RecordBatch]:
  """Returns what makes ids of the text in a batch of `spool.read`."""
  tokenizer = bulk_tokenizer.BulkTokenizer(Tokenizer(tokens, cased, rules))

  def encode(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    given = batch['text'].to_pylist() if rules is None else texts_of(batch)
    texts = [sentences.split(text) for text in given]
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
