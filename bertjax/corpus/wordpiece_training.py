"""Trains BERT's WordPiece vocabulary on counts of words.

    words = WordCounts()
    words.add(count_words(['A text.', 'Another one.'], cased=False))
    tokens = train(words.counts, size=8000)
    vocabulary_file.write(tokens, 'vocab.txt', cased=False)

Source: Devlin et al. 2018, section 3; the file format of google-research/bert.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from tokenizers import pre_tokenizers, trainers

from bertjax.corpus.bulk_tokenizer import words_between_spaces
from bertjax.errors import UserError
from bertjax.text.tokenizer import pipeline
from bertjax.text.vocabulary_file import SPECIAL_TOKENS
from bertjax.values import Count, VocabularySize, check_fields

MAX_ALPHABET = 1000  # as in `tokenizers` for BERT; rarer characters are [UNK]
MAX_CHARACTERS = 100  # a longer word is [UNK]: BERT's `tokenization.py`
# The library takes words, not counts. Above so many words all counts are
# divided, which can only change the order of pairs that are about as frequent.
_MOST_WORDS = 1 << 29
MEMORY = 1 << 18  # strings whose words are kept
TokenizerName = Literal['wordpiece', 'bpe']


@dataclasses.dataclass(frozen=True)
class Training:
  """A vocabulary that is to be trained on the corpus.

  Attributes:
    size: how many tokens.
    cased: False lower-cases text and, for WordPiece, strips accents first.
    min_frequency: see `wordpiece_training.train`.
    tokenizer: 'wordpiece' or 'bpe', which is byte-level.
  """

  size: VocabularySize
  cased: bool = False
  min_frequency: Count = 2
  tokenizer: TokenizerName = 'wordpiece'

  def __post_init__(self) -> None:
    """Raises UserError if `size` has no room for all bytes."""
    check_fields(self)
    least = 256 + len(SPECIAL_TOKENS)
    if self.tokenizer == 'bpe' and self.size < least:
      raise UserError(
        f'expected VOCAB_SIZE of at least {least} with TOKENIZER=bpe, for 256 '
        f'bytes and {len(SPECIAL_TOKENS)} special tokens, got {self.size}'
      )

  def key(self) -> tuple[Any, ...]:
    """Returns what tells it from others, as JSON can hold it."""
    key = (self.size, self.cased, self.min_frequency)
    return key if self.tokenizer == 'wordpiece' else (*key, self.tokenizer)


class WordCounts:
  """How often each word occurs, in bounded memory.

  Attributes:
    counts: word -> how often it was seen.
    most: distinct words; above it those seen least are forgotten. 4 million
      take half a gigabyte, and English of 100 GB has fewer that occur twice.
  """

  def __init__(self, most: int = 1 << 22):
    self.counts: collections.Counter[str] = collections.Counter()
    self.most = most
    self._least = 0

  def add(self, counts: Mapping[str, int]) -> None:
    """Adds what `count_words` found in some texts."""
    self.counts.update(counts)
    while len(self.counts) > self.most:
      self._least += 1
      least = self._least
      self.counts = collections.Counter(
        {word: n for word, n in self.counts.items() if n > least}
      )


def count_words(texts: Iterable[str], cased: bool) -> dict[str, int]:
  """Returns how often each normalised word occurs.

  >>> count_words(["It's", 'it'], cased=False)
  {'it': 2, "'": 1, 's': 1}
  """
  strings, places = words_between_spaces(texts)
  split = _splitter(cased)
  counts: collections.Counter[str] = collections.Counter()
  for string, number in zip(strings, np.bincount(places).tolist(), strict=True):
    for word in split(string):
      counts[word] += number
  return dict(counts)


@functools.cache
def _splitter(cased: bool) -> Callable[[str], tuple[str, ...]]:
  tokenizer = pipeline({}, cased)
  normalise = tokenizer.normalizer.normalize_str
  divide = tokenizer.pre_tokenizer.pre_tokenize_str

  @functools.lru_cache(MEMORY)
  def split(string: str) -> tuple[str, ...]:
    return tuple(word for word, _ in divide(normalise(string)))

  return split


def train(
  counts: Mapping[str, int], size: int, min_frequency: int = 2
) -> list[str]:
  """Trains a vocabulary; equal counts in any order give the same one.

  Args:
    counts: word -> how often it occurs, see `count_words`.
    size: number of tokens; if the texts yield fewer, the rest is '[unused0]'
      and so on.
    min_frequency: how often a character, or a pair of pieces, must occur.

  Returns:
    `size` distinct tokens: the special ones, single characters, pieces.

  Raises:
    UserError: the texts have no words, or more different characters than
      `size` holds.
  """
  words, alphabet = _limit_alphabet(counts, min_frequency)
  if not alphabet:
    raise UserError(
      'expected texts to train a vocabulary on, but they hold no words; '
      'set TEXT_FILES'
    )
  # The library's hash map is seeded at random. Given the alphabet, neither ids
  # nor ties depend on the order in which it yields the words.
  first = [*SPECIAL_TOKENS, *alphabet]
  if size < len(first):
    raise UserError(
      f'{size} tokens cannot hold the {len(first)} special tokens and single '
      f'characters of the texts; set VOCAB_SIZE to {len(first)} or more'
    )
  tokenizer = pipeline({}, cased=True)  # words are normalised already
  tokenizer.normalizer = None
  tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  tokenizer.train_from_iterator(
    repeat(words),
    trainers.WordPieceTrainer(
      vocab_size=size,
      min_frequency=min_frequency,
      special_tokens=first,
      show_progress=False,
    ),
  )
  ids = tokenizer.get_vocab()
  return filled(sorted(ids, key=ids.__getitem__), size)


def filled(tokens: list[str], size: int) -> list[str]:
  """Returns `size` tokens, with a warning if there are fewer."""
  if len(tokens) < size:
    print(
      f'warning: the text yields {len(tokens):,} tokens, so the rest of '
      f'VOCAB_SIZE {size:,} is never used; set it to {len(tokens)}',
      flush=True,
    )
  return tokens + [f'[unused{i}]' for i in range(size - len(tokens))]


def _limit_alphabet(
  counts: Mapping[str, int], min_frequency: int
) -> tuple[dict[str, int], list[str]]:
  """Returns the words without rare characters, sorted, and their alphabet.

  {'is': 2, 'it': 2} has the alphabet ['i', 's', 't', '##s', '##t'].
  """
  characters: collections.Counter[str] = collections.Counter()
  for word, number in counts.items():
    for character in word:
      characters[character] += number
  ranked = sorted(characters, key=lambda c: (-characters[c], c))[:MAX_ALPHABET]
  known = {c for c in ranked if characters[c] >= min_frequency}
  words = {
    word: number
    for word, number in sorted(counts.items())
    if len(word) <= MAX_CHARACTERS and known.issuperset(word)
  }
  continuing = {'##' + c for word in words for c in word[1:]}
  return words, sorted(known) + sorted(continuing)


def repeat(counts: Mapping[str, int], most: int = 1000) -> Iterator[str]:
  """Yields each word as often as it counts, at most `most` times in a string.

  {'a': 1001, 'b': 1} gives 'a a ... a' with 1000 words, 'a', 'b'.
  """
  divisor = sum(counts.values()) // _MOST_WORDS + 1
  for word, number in counts.items():
    number = -(-number // divisor)
    for done in range(0, number, most):
      yield ' '.join([word] * min(most, number - done))
