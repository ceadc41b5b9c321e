r"""What rules of quality ask of a document, each computed at most once.

>>> document = Document('A list:\n* one\n* two\n* two')
>>> document.lines[1], len(document.words), document.repeated_lines
('* one', 8, 0.25)
"""

import collections
import functools
import re

import numpy as np

from bertjax.corpus import word_hashes

# Characters of a document that rules look at. Its first million says what kind
# of text it is, and the words of 100 MB would take gigabytes.
LOOKED_AT = 1 << 20
_ASCII = re.compile(r'[\x00-\x7f]+')
_ASCII_LETTERS = bytes({*range(65, 91), *range(97, 123)})


class Document:
  """The features of a text; shares are from 0 to 1, and 0 of nothing."""

  def __init__(self, text: str):
    """Takes a document: lines joined by '\\n'."""
    self.text = text[:LOOKED_AT]

  @functools.cached_property
  def lines(self) -> list[str]:
    """The lines that are not blank, stripped."""
    return [line for x in self.text.split('\n') if (line := x.strip())]

  @functools.cached_property
  def words(self) -> list[str]:
    """What stands between white space, punctuation included."""
    return self.text.split()

  @functools.cached_property
  def lower_words(self) -> frozenset[str]:
    return frozenset(self.text.lower().split())

  @functools.cached_property
  def word_lengths(self) -> np.ndarray:
    """int64[words], in characters."""
    return np.fromiter(map(len, self.words), np.int64, len(self.words))

  @functools.cached_property
  def characters(self) -> int:
    """The number of characters but white space."""
    return int(self.word_lengths.sum())

  @functools.cached_property
  def letters(self) -> float:
    """The share of letters in the characters that are not white space."""
    encoded = self.text.encode('ascii', 'ignore')
    ascii_letters = len(encoded) - len(
      encoded.translate(None, delete=_ASCII_LETTERS)
    )
    others = () if self.text.isascii() else _ASCII.sub('', self.text)
    found = ascii_letters + sum(map(str.isalpha, others))
    return found / max(1, self.characters)

  @functools.cached_property
  def repeated_lines(self) -> float:
    """The share of lines that stand further ahead as well.

    Deviation from Gopher: lines without a letter, such as the rules and rows of
    tables, do not count as repeated.
    """
    return sum(self._again.values()) / max(1, len(self.lines))

  @functools.cached_property
  def repeated_line_characters(self) -> float:
    """The share of characters in such lines."""
    repeated = sum(len(line) * n for line, n in self._again.items())
    return repeated / max(1, sum(map(len, self.lines)))

  @functools.cached_property
  def _again(self) -> dict[str, int]:
    """How often each repeated line stands there, but for the first time."""
    if len(set(self.lines)) == len(self.lines):
      return {}
    return {
      line: n - 1
      for line, n in collections.Counter(self.lines).items()
      if n > 1 and any(map(str.isalpha, line))
    }

  def top_ngram(self, n: int) -> float:
    """Returns the share of characters in the most frequent n words in a row.

    If several are as frequent, the one that comes first. It is 0 if none
    occurs twice.
    """
    lengths, ngrams = self._ngrams(n)
    if _all_differ(ngrams):
      return 0.0
    _, first, counts = np.unique(ngrams, return_index=True, return_counts=True)
    place = first[counts == counts.max()].min()
    top = lengths[place : place + n].sum() * counts.max()
    return float(min(1.0, top / lengths.sum()))

  def repeated_ngrams(self, n: int) -> float:
    """Returns the share of characters in n words in a row that came before.

    A character counts once, however many of the n-grams it is in.
    """
    lengths, ngrams = self._ngrams(n)
    if _all_differ(ngrams):
      return 0.0
    again = np.ones(len(ngrams), bool)
    again[np.unique(ngrams, return_index=True)[1]] = False
    # One where an n-gram begins, and minus one behind its last word.
    change = np.zeros(len(lengths) + 1, np.int64)
    change[: len(ngrams)] += again
    change[n:] -= again
    inside = np.cumsum(change[:-1]) > 0
    return float(lengths[inside].sum() / lengths.sum())

  @functools.cached_property
  def _counted(self) -> tuple[np.ndarray, np.ndarray]:
    """The lengths and hashes of the words that n-grams are made of.

    These are Gopher's, what stands between white space; in Chinese and
    Japanese, the characters.
    """
    words, lengths = self.words, self.word_lengths
    if word_hashes.has_words_of_one_character(self.text):
      words = word_hashes.split(self.text)
      lengths = np.fromiter(map(len, words), np.int64, len(words))
    # Python's own hashes are other ones in each process, and twice as fast.
    # They are compared within a document alone.
    hashes = np.fromiter(map(hash, words), np.int64, len(words))
    return lengths, hashes.view(np.uint64)

  def _ngrams(self, n: int) -> tuple[np.ndarray, np.ndarray]:
    lengths, hashes = self._counted
    return lengths, word_hashes.ngrams(hashes, n)


def _all_differ(values: np.ndarray) -> bool:
  ordered = np.sort(values)
  return not (ordered[1:] == ordered[:-1]).any()
