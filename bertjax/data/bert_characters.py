"""A table of what BERT's tokenizer makes of each character, for TensorFlow.

    table = character_table(cased=False)
    table.look_up(tf.constant([ord('É'), ord('!')]))  # 'e' and ' ! '

TensorFlow lower-cases, strips accents and finds punctuation with its ICU's
Unicode tables. BERT's tokenizer uses those of the Rust library `tokenizers`,
which are older and agree with no other library's. With one exception BERT
treats each character on its own (Devlin et al. 2018, `tokenization.py`: clean,
pad CJK, strip accents, lower, split punctuation), so the table is built by
asking the library about each of the 1,114,112 code points, and cannot disagree
with it. That takes a second, once per process.

The exception: marks are put into canonical order, which shows if two of them
survive (the library strips only those that it knows to be non-spacing).
`movable` says which characters do.
"""

import functools
import unicodedata
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from tokenizers import normalizers, pre_tokenizers

from bertjax.data.quiet_tensorflow import tf

CODE_POINTS = 0x110000
SURROGATES = range(0xD800, 0xE000)  # never part of a text
BLOCK = 512  # code points per call; single ones only if the answer is not plain

# Spacing marks of combining classes 216 and 9, which are never stripped: a mark
# of any other class changes places with one of them.
HIGH_MARK, LOW_MARK = '\U0001d165', '\u1b44'
HIGHEST_MARK = '\u0345'  # the only mark of class 240


def shared(array: np.ndarray) -> tf.Tensor:
  """Returns a constant outside the graph being traced.

  A constant inside would be copied into each function that calls the graph.
  """
  with tf.init_scope():
    return tf.constant(array)


class CharacterTable(NamedTuple):
  """What each code point becomes, and for which ones that is not enough.

  Attributes:
    starts: int32[CODE_POINTS + 1], code point c becomes
      `codes[starts[c]:starts[c + 1]]`.
    codes: int32[...], code points: none for a removed character, a space for
      white space, the character between spaces for punctuation and CJK.
    movable: bool[CODE_POINTS], True if the character survives and may change
      places with a neighbour: the table is wrong for a text with two of them.
  """

  starts: np.ndarray
  codes: np.ndarray
  movable: np.ndarray

  def look_up(self, characters: tf.Tensor) -> tf.RaggedTensor:
    """Maps int32[n] code points to ragged int32[n, None]."""
    # `tf.gather` of a ragged table would read all of it every time.
    starts = shared(self.starts)
    places = tf.ragged.range(
      tf.gather(starts, characters),
      tf.gather(starts, characters + 1),
      row_splits_dtype=tf.int64,
    )
    return places.with_values(tf.gather(shared(self.codes), places.values))


@functools.cache
def character_table(cased: bool) -> CharacterTable:
  """Returns the table of BERT's cased or uncased tokenizer."""
  normalize = normalizers.BertNormalizer(lowercase=not cased).normalize_str
  separated = _separated_characters()
  lengths = np.ones(CODE_POINTS, np.int32)
  lengths[SURROGATES.start : SURROGATES.stop] = 0
  images: dict[int, str] = {}
  for text in _blocks():
    whole = normalize(text)
    if not whole:  # private use or unassigned
      lengths[ord(text[0]) : ord(text[0]) + BLOCK] = 0
    elif whole == f' {"  ".join(text)} ':  # CJK
      images.update((ord(c), f' {c} ') for c in text)
    elif whole != text:
      images.update((ord(c), normalize(c)) for c in text)
  images.update(
    (c, chr(c)) for c in separated if c not in images and lengths[c]
  )
  for code, image in images.items():
    images[code] = ''.join(separated.get(ord(c), c) for c in image)
    lengths[code] = len(images[code])
  starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
  identity = lengths == 1
  codes = np.empty(starts[-1], np.int32)
  codes[starts[:-1][identity]] = np.flatnonzero(identity)
  for code, image in images.items():
    codes[starts[code] : starts[code + 1]] = [*map(ord, image)]
  return CharacterTable(starts, codes, _movable_characters(normalize))


def _blocks() -> Iterator[str]:
  for first in range(0, CODE_POINTS, BLOCK):
    if first not in SURROGATES:
      yield ''.join(map(chr, range(first, first + BLOCK)))


def _separated_characters() -> dict[int, str]:
  """Returns the characters that end a word: white space as ' ', x as ' x '."""
  split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
  separated = {}
  for text in _blocks():
    if len(split(text)) == 1:
      continue
    for c in text:
      pieces = len(split(f'q{c}q'))
      if pieces > 1:
        separated[ord(c)] = ' ' if pieces == 2 else f' {c} '
  return separated


def _movable_characters(normalize: Callable[[str], str]) -> np.ndarray:
  """Returns bool[CODE_POINTS]: what changes places with one of the two marks.

  Python's Unicode is newer than the library's, so it knows all of its marks.
  """

  def moves(character: str) -> bool:
    return any(
      normalize(first + second) != normalize(first) + normalize(second)
      for first, second in ((HIGH_MARK, character), (character, LOW_MARK))
    )

  movable = np.zeros(CODE_POINTS, bool)
  for text in _blocks():
    # A mark would change places with one of the highest class before it.
    pairs = HIGHEST_MARK + HIGHEST_MARK.join(text)
    if unicodedata.normalize('NFKD', pairs) != pairs or HIGHEST_MARK in text:
      movable[ord(text[0]) : ord(text[0]) + BLOCK] = [
        bool(unicodedata.combining(c) or unicodedata.decomposition(c))
        and moves(c)
        for c in text
      ]
  return movable
