"""Finds documents that hold text of evaluation sets.

    >>> contaminated = Contaminated(['The cat sat on the mat all day.'], n=8)
    >>> contaminated.find('He says the Cat sat on the mat -- all day!')
    True
    >>> contaminated.find('The cat sat on the mat.')
    False

As in GPT-3 (Brown et al. 2020, appendix C) two texts overlap if 13 words in a
row are the same, whatever their case and punctuation, and an example of fewer
words, but at least 8, counts as a whole. Deviation: a document goes as a whole,
while GPT-3 cut out 200 characters around each hit; and n-grams that are
frequent in the corpus count, which GPT-3 left out (above 10 documents).
"""

from collections.abc import Iterable

import numpy as np

from bertjax.corpus import word_hashes

SHORTEST = 8  # words; GPT-3, appendix C
# Bits of a hash that the table of what may occur is indexed by: 16 MB, and a
# look-up among a million n-grams is then needed for one word in sixteen.
_TABLE_BITS = 24


class Contaminated:
  """The n-grams of evaluation texts, 8 bytes each."""

  def __init__(self, evaluation_texts: Iterable[str], n: int = 13):
    """Reads the texts once.

    Args:
      evaluation_texts: one for each field of an example: a question, a
        paragraph, an answer. Those of fewer than `SHORTEST` words are left out.
      n: words in a row that may not occur.
    """
    found: dict[int, list[np.ndarray]] = {}
    for text in evaluation_texts:
      words = word_hashes.of(text)
      if len(words) >= min(SHORTEST, n):
        length = min(n, len(words))
        found.setdefault(length, []).append(word_hashes.ngrams(words, length))
    self._hashes = {
      length: np.unique(np.concatenate(parts))
      for length, parts in found.items()
    }
    self._may_occur = {
      length: _table(hashes) for length, hashes in self._hashes.items()
    }

  def __len__(self) -> int:
    """The number of different n-grams."""
    return sum(map(len, self._hashes.values()))

  def find(self, text: str) -> bool:
    """Returns whether the text shares an n-gram with an evaluation text."""
    words = word_hashes.of(text)
    for length, hashes in self._hashes.items():
      ngrams = word_hashes.ngrams(words, length)
      ngrams = ngrams[self._may_occur[length][_index(ngrams)]]
      places = np.searchsorted(hashes, ngrams)
      places[places == len(hashes)] = 0
      if (hashes[places] == ngrams).any():
        return True
    return False


def _table(hashes: np.ndarray) -> np.ndarray:
  table = np.zeros(1 << _TABLE_BITS, bool)
  table[_index(hashes)] = True
  return table


def _index(hashes: np.ndarray) -> np.ndarray:
  return hashes >> np.uint64(64 - _TABLE_BITS)
