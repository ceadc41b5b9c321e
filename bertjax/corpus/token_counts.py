"""Counts what is in a corpus, in one pass and flat memory.

    counts = token_counts.count(prepared, {'she': ['she', 'her']})
    counts.documents['train'], counts.sentence_lengths, counts.groups

Memory grows with the number of different lengths alone, which is below the root
of twice the number of tokens.
"""

import collections
import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bertjax.corpus import shards
from bertjax.corpus.distinct import Distinct, hash_of
from bertjax.corpus.preparation import Prepared
from bertjax.corpus.words import Words
from bertjax.runs.progress_line import ProgressLine
from bertjax.text.tokenizer import Tokenizer

DOCUMENTS, WORDS = 1 << 20, 1 << 16  # that are kept, see `Distinct.most`
SAMPLE = 10_000  # words in a row, among which different ones are counted
_BLOCK = 1 << 18  # tokens that are counted together
_SECONDS = 2.0  # between reports

Phrases = list[tuple[str, list[str]]]  # its group, and its words


@dataclass
class Counts:
  """What `count` found.

  Attributes:
    used: int64[V], how often each token occurs.
    documents: split -> how many.
    sentences: split -> how many.
    words: split -> how many, signs of punctuation left out.
    document_lengths: tokens of a document -> how many documents.
    sentence_lengths: tokens of a sentence -> how many sentences.
    same_documents: by their ids.
    different_words: those of letters, as the vocabulary spells them.
    sample_words: of each `SAMPLE` of words in a row, how many are different.
    kind_words: kind of a word -> how many.
    kind_tokens: kind of a word -> their tokens.
    groups: group -> how often the text names it.
  """

  used: np.ndarray
  documents: collections.Counter[str] = field(
    default_factory=collections.Counter
  )
  sentences: collections.Counter[str] = field(
    default_factory=collections.Counter
  )
  words: collections.Counter[str] = field(default_factory=collections.Counter)
  document_lengths: collections.Counter[int] = field(
    default_factory=collections.Counter
  )
  sentence_lengths: collections.Counter[int] = field(
    default_factory=collections.Counter
  )
  same_documents: Distinct = field(default_factory=lambda: Distinct(DOCUMENTS))
  different_words: Distinct = field(default_factory=lambda: Distinct(WORDS))
  sample_words: list[int] = field(default_factory=list)
  kind_words: collections.Counter[str] = field(
    default_factory=collections.Counter
  )
  kind_tokens: collections.Counter[str] = field(
    default_factory=collections.Counter
  )
  groups: collections.Counter[str] = field(default_factory=collections.Counter)


def count(prepared: Prepared, groups: Mapping[str, Sequence[str]]) -> Counts:
  """Counts all splits, and says on standard error how far it is.

  Args:
    prepared: the corpus.
    groups: name -> words or phrases to look for, in whole words, whatever their
      case; no phrase goes across the end of a sentence.

  Raises:
    UserError: a shard cannot be read.
  """
  vocabulary = prepared.vocabulary
  words = Words(vocabulary)
  phrases = phrases_of(groups, Tokenizer(*vocabulary.parts), words)
  counts = Counts(np.zeros(len(vocabulary.tokens), np.int64))
  counts.groups.update(dict.fromkeys(groups, 0))
  total = sum(split['tokens'] for split in prepared.splits.values())
  began, done = time.monotonic(), 0
  due = began + _SECONDS
  with ProgressLine(sys.stderr) as line:
    for name in shards.SPLITS:
      documents = _Documents(counts, name)
      for block in _blocks(prepared.split(name)):
        documents.add(block)
        done += _add_words(counts, name, block, words, phrases)
        if (now := time.monotonic()) > due:
          due = now + _SECONDS
          line.show(f'counting what is in the corpus: {done / total:.0%}')
      documents.close()
  return counts


def _blocks(split: shards.Split) -> Iterator[list[shards.Piece]]:
  """Yields pieces in their order, few at a time but for short ones."""
  block, size = [], 0
  for number in range(len(split)):
    piece = split.piece(number)
    block.append(piece)
    size += len(piece.tokens)
    if size >= _BLOCK:
      yield block
      block, size = [], 0
  if block:
    yield block


class _Documents:
  """Puts the pieces of documents together."""

  def __init__(self, counts: Counts, split: str):
    self._counts, self._split = counts, split
    self._hashes: list[int] = []
    self._document, self._first = -1, b''  # which one is open, its first piece
    self._tokens, self._digest = 0, hashlib.blake2b(digest_size=8)

  def add(self, pieces: Sequence[shards.Piece]) -> None:
    for piece in pieces:
      ids = piece.tokens.tobytes()
      # Shards do not say where a document begins that is like the one before.
      if piece.document != self._document or ids == self._first:
        self._end()
        self._document, self._first = piece.document, ids
        self._tokens, self._digest = 0, hashlib.blake2b(digest_size=8)
      self._tokens += len(piece.tokens)
      self._digest.update(ids)
    if len(self._hashes) >= WORDS:
      self._flush()

  def close(self) -> None:
    """Ends the last document."""
    self._end()
    self._flush()

  def _end(self) -> None:
    if self._document >= 0:
      self._counts.documents[self._split] += 1
      self._counts.document_lengths[self._tokens] += 1
      self._hashes.append(int.from_bytes(self._digest.digest(), 'big'))

  def _flush(self) -> None:
    hashes = np.array(self._hashes, np.uint64)
    self._counts.same_documents.add(hashes, np.ones(len(hashes), np.int64))
    self._hashes = []


def _add_words(
  counts: Counts,
  split: str,
  pieces: Sequence[shards.Piece],
  words: Words,
  phrases: Phrases,
) -> int:
  """Counts tokens, sentences and words; returns how many tokens."""
  ids = np.concatenate([piece.tokens for piece in pieces]).astype(np.int64)
  lengths = np.concatenate(
    [np.diff(x.sentence_ends.astype(np.int64), prepend=0) for x in pieces]
  )
  counts.used += np.bincount(ids, minlength=len(counts.used))
  counts.sentences[split] += len(lengths)
  _add(counts.sentence_lengths, *np.unique(lengths, return_counts=True))
  if not len(ids):
    return 0
  # The first word of a document of BPE begins with no space.
  starts = np.union1d(words.starts(ids), np.cumsum(lengths)[:-1])
  first = ids[starts]
  kinds = words.kind_of[first]
  size = len(words.kinds)
  sizes = np.diff(starts, append=len(ids))
  _add(counts.kind_words, words.kinds, np.bincount(kinds, minlength=size))
  _add(
    counts.kind_tokens,
    words.kinds,
    np.bincount(kinds, sizes, size).astype(np.int64),
  )
  counts.words[split] += int(words.is_word()[first].sum())
  hashes, firsts, places, often = np.unique(
    hash_of(ids, starts),
    return_index=True,
    return_inverse=True,
    return_counts=True,
  )
  spelt = words.is_spelt()[first]
  of_letters = spelt[firsts]
  counts.different_words.add(hashes[of_letters], often[of_letters])
  in_a_row = places[spelt][:SAMPLE]
  if len(in_a_row) == SAMPLE:
    counts.sample_words.append(len(np.unique(in_a_row)))
  texts = [
    words.spell(ids[start : start + size])
    for start, size in zip(starts[firsts], sizes[firsts], strict=True)
  ]
  begins = np.isin(starts, np.cumsum(lengths))
  for group, found in _named(phrases, texts, places, begins):
    counts.groups[group] += found
  return len(ids)


def _add(
  counter: collections.Counter, keys: np.ndarray, numbers: np.ndarray
) -> None:
  for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
    if number:
      counter[key] += number


def phrases_of(
  groups: Mapping[str, Sequence[str]], tokenizer: Tokenizer, words: Words
) -> Phrases:
  """Returns the phrases of groups as the corpus spells them, in lower case.

  A word that the vocabulary cannot spell is '[unk]', and is found nowhere.
  """
  unknown = tokenizer.id_of('unk')
  found = {}
  for group, texts in groups.items():
    for encoded in tokenizer.pieces(texts):
      ids = np.array(encoded.ids, np.int64)
      spelt = [
        words.spell(part).lower() for part in np.split(ids, words.starts(ids))
      ][1:]
      # One that is named twice, or differs in case alone, counts once.
      if len(ids) and unknown not in ids:
        found[group, ' '.join(spelt)] = spelt
  return [(group, spelt) for (group, _), spelt in found.items()]


def _named(
  phrases: Phrases,
  texts: Sequence[str],
  places: np.ndarray,
  begins: np.ndarray,
) -> Iterator[tuple[str, int]]:
  """Yields the group of each phrase, and how often it is in the text.

  Args:
    phrases: what to look for.
    texts: the different words.
    places: int64[n], of the word at each place its number in `texts`.
    begins: bool[n], whether a sentence begins there.
  """
  wanted: dict[str, list[int]] = {x: [] for _, words in phrases for x in words}
  for number, text in enumerate(texts):
    if (lower := text.lower()) in wanted:
      wanted[lower].append(number)
  for group, words in phrases:
    first, *rest = words
    at = np.flatnonzero(np.isin(places, wanted[first]))
    for offset, word in enumerate(rest, 1):
      at = at[at + offset < len(places)]
      there = at + offset
      at = at[np.isin(places[there], wanted[word]) & ~begins[there]]
    yield group, len(at)
