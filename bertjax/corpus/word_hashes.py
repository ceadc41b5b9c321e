"""Words of a text, whatever their case and punctuation, and their hashes.

    >>> split('"A CAT", (sat)')
    ['a', 'cat', 'sat']
    >>> one, two = of('A cat sat.'), of('"a CAT", (sat)')
    >>> bool((one == two).all()), len(one), len(ngrams(one, 2))
    (True, 3, 2)

A word is a run of letters, digits and the marks on them, case folded; a
character of Chinese or Japanese is a word of its own, as it is for BERT's
tokenizer. All else separates words. What finds duplicates, contamination and
repetition looks at words in this form, and so does not see what a change of
quotes, dashes, line breaks or case does to a text. Texts should be in one
Unicode normal form before (`repair`).
"""

import bisect
import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterator

import numpy as np

from bertjax.text import hashing

# Scripts that are written without spaces between words, and have words of a
# character or two: BERT's CJK blocks (google-research/bert, tokenization.py,
# `_is_chinese_char`), and kana. First and last code of each.
_ALONE = (
  (0x3040, 0x30FF),
  (0x3400, 0x4DBF),
  (0x4E00, 0x9FFF),
  (0xF900, 0xFAFF),
  (0x20000, 0x2FA1F),
)
_ALONE_FIRST = [first for first, _ in _ALONE]
_ALONE_CHARACTER = re.compile(
  '[' + ''.join(f'{chr(first)}-{chr(last)}' for first, last in _ALONE) + ']'
)
# Characters that are worked on at once: the words of a document of any length
# are in memory as 8 bytes each, those of a piece as strings.
_PIECE = 1 << 20
# Words whose hashes are kept, some 100 bytes each.
_MOST_WORDS = 1 << 17
# Random and odd. The hash of an n-gram is a sum of its words by products of
# these, as in multilinear hashing (Lemire, Kaser 2014).
_FACTORS = hashing.mix(0x776F7264, np.arange(64)) | np.uint64(1)


def of(text: str) -> np.ndarray:
  """Returns uint64[W], a hash for each word of the text."""
  parts = [of_words(split(piece)) for piece in pieces(text)]
  return parts[0] if len(parts) == 1 else np.concatenate(parts)


def of_words(words: list[str]) -> np.ndarray:
  """Returns uint64[W], the hashes of words that `split` returned."""
  if len(_HASHES) > _MOST_WORDS:
    _HASHES.clear()
  hashes = map(_HASHES.__getitem__, words)
  return np.fromiter(hashes, np.uint64, len(words))


def ngrams(words: np.ndarray, n: int) -> np.ndarray:
  """Returns uint64[max(0, W - n + 1)]: hashes of n words in a row.

  Args:
    words: uint64[W], hashes of the words.
    n: at least 1.
  """
  if len(words) < n:
    return np.zeros(0, np.uint64)
  total, length = words, 1
  for step, bit in enumerate(bin(n)[3:]):  # the binary digits behind the first
    total = total[:-length] * _FACTORS[2 * step] + total[length:]
    length *= 2
    if bit == '1':
      total = total[:-1] * _FACTORS[2 * step + 1] + words[length:]
      length += 1
  # Each bit of a product depends on the lower bits of a word alone; to order
  # n-grams by their hashes, as MinHash does, the highest ones are spread.
  return (total ^ (total >> np.uint64(32))) * _FACTORS[-1]


# Those of a text are asked for several times in a row: for its hash, its
# signature, blocked words.
@functools.lru_cache(maxsize=1)
def split(text: str) -> list[str]:
  """Returns the words of the text, case folded; nobody may change the list."""
  text = text.casefold()
  if not text.isascii():
    # `translate` is twenty times as fast on ASCII, and English often has these
    # alone beside it.
    for character in '’‘“”–—…\xa0':
      text = text.replace(character, ' ')
  return text.translate(_CHARACTERS).split()


def pieces(text: str) -> Iterator[str]:
  """Yields parts of at most a million characters, cut before white space.

  A word of a million characters is cut as well, and is then two words.
  """
  start = 0
  while len(text) - start > _PIECE:
    cut = text.rfind('\n', start, start + _PIECE)
    if cut <= start:
      cut = text.rfind(' ', start, start + _PIECE)
    cut = cut if cut > start else start + _PIECE
    yield text[start:cut]
    start = cut
  yield text[start:]


def has_words_of_one_character(text: str) -> bool:
  """Whether there is a character of Chinese or Japanese."""
  return not text.isascii() and bool(_ALONE_CHARACTER.search(text))


class _Characters(dict[int, str]):
  """What becomes of each character; grows to those that occur."""

  def __missing__(self, code: int) -> str:
    character = chr(code)
    # The vowels of Hindi, for one, are marks and no `isalnum`.
    if not (
      character.isalnum() or unicodedata.category(character) in ('Mn', 'Mc')
    ):
      found = ' '
    else:
      block = bisect.bisect(_ALONE_FIRST, code) - 1
      alone = block >= 0 and code <= _ALONE[block][1]
      found = f' {character} ' if alone else character
    self[code] = found
    return found


class _Hashes(dict[str, int]):
  """The hashes of the words that occurred lately."""

  def __missing__(self, word: str) -> int:
    encoded = word.encode('utf-8', 'surrogatepass')
    digest = hashlib.blake2b(encoded, digest_size=8).digest()
    found = self[word] = int.from_bytes(digest, 'little')
    return found


_CHARACTERS, _HASHES = _Characters(), _Hashes()
