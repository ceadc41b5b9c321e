r"""Turns much text into ids, those of `Tokenizer`, by a memory of words.

    tokenizer = BulkTokenizer(Tokenizer(tokens, cased=False))
    ids, ends = tokenizer.encode(['A sentence.\nAnother one.'])[0]

Each different string between two spaces goes through `Tokenizer` once. That is
exact, since BERT's tokenizer splits at spaces, and nothing in it looks across
one: not the removal of control characters, not the order of combining marks,
and letters are lower-cased one by one. On novels one thread then gives 15 MB/s,
and 6 while it meets the first 20 MB; the library `tokenizers` gives 2.6 in two
threads (experiments/LOG.md).
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from bertjax.text.tokenizer import Tokenizer

# An end of a sentence and an end of a text take the place of a word each. Clean
# text holds neither '\n' within a line nor NUL.
_SENTENCE, _TEXT = '\n', '\0'
# BERT puts spaces around these itself; otherwise a whole line would be a word.
_IDEOGRAPHS = re.compile('([\u4e00-\u9fff])')
# The memory is emptied when it holds more words, or characters: about 100 MB.
_MOST_WORDS, _MOST_CHARACTERS = 1 << 19, 1 << 24


def words_between_spaces(texts: Iterable[str]) -> list[str]:
  r"""Returns the strings between spaces, and '\n' after each line.

  >>> words_between_spaces(['One line.\nTwo'])
  ['One', 'line.', '\n', 'Two', '\n', '']
  """
  joined = '\n'.join([*texts, ''])
  if not joined.isascii():
    joined = _IDEOGRAPHS.sub(r' \1 ', joined)
  return joined.replace('\n', ' \n ').split(' ')


def dtype_of(size: int) -> np.dtype:
  """Returns that of ids below `size`: uint16 if it can hold them, or uint32."""
  return np.dtype(np.uint16 if size <= 1 << 16 else np.uint32)


class _Numbers(dict[str, int]):
  """Word -> its number; notes the words that are new."""

  def __init__(self) -> None:
    super().__init__({_SENTENCE: 0, _TEXT: 1})
    self.new: list[str] = []

  def __missing__(self, word: str) -> int:
    self.new.append(word)
    number = self[word] = len(self)
    return number


class BulkTokenizer:
  """Encodes texts that are lines of sentences; see the module.

  Attributes:
    dtype: of the ids, see `dtype_of`.
  """

  def __init__(self, tokenizer: Tokenizer):
    self._tokenizer = tokenizer
    self.dtype = dtype_of(len(tokenizer.tokens))
    self._forget()

  def _forget(self) -> None:
    self._numbers = _Numbers()
    self._characters = 0
    # How many ids each word has, where they begin in `_ids`, and these.
    self._counts = np.zeros(2, np.int64)
    self._starts = np.zeros(2, np.int64)
    self._ids = np.zeros(0, self.dtype)

  def encode(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the ids of each text, and where its sentences end.

    Args:
      texts: clean lines, a sentence each; a megabyte at a time is fastest.

    Returns:
      for each text `dtype`[T] and int64[n], ascending: of each sentence that
      has ids, how many there are up to its end.
    """
    if len(self._numbers) > _MOST_WORDS or self._characters > _MOST_CHARACTERS:
      self._forget()
    words = words_between_spaces(x for text in texts for x in (text, _TEXT))
    find = self._numbers.__getitem__
    numbers = np.fromiter(map(find, words), np.int64, len(words))
    if self._numbers.new:
      self._learn(self._numbers.new)
      self._numbers.new = []
    counts = self._counts[numbers]
    ends = np.cumsum(counts)
    places = np.repeat(self._starts[numbers] - (ends - counts), counts)
    ids = self._ids[places + np.arange(len(places))]
    sentences, bounds = ends[numbers == 0], ends[numbers == 1]
    found, first = [], 0
    for past in bounds:
      own = sentences[
        slice(*np.searchsorted(sentences, [first, past], 'right'))
      ]
      own = np.unique(own[own > first]) - first
      found.append((ids[first:past], own))
      first = past
    return found

  def _learn(self, words: list[str]) -> None:
    pieces = [x.ids for x in self._tokenizer.pieces(words)]
    counts = np.fromiter(map(len, pieces), np.int64, len(pieces))
    ids = np.fromiter(
      (number for some in pieces for number in some), self.dtype, counts.sum()
    )
    starts = len(self._ids) + np.cumsum(counts) - counts
    self._counts = np.append(self._counts, counts)
    self._starts = np.append(self._starts, starts)
    self._ids = np.append(self._ids, ids)
    self._characters += sum(map(len, words))
