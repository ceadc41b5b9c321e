"""Turns sentences of words into rows, and says where in them each word is.

    >>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
    >>> tokens = [*SPECIAL_TOKENS, 'rock', '##well', 'said']
    >>> tokenizer = Tokenizer(tokens, cased=False)
    >>> ((piece,),) = make(tokenizer, [('Rockwell', 'said')], length=128)
    >>> piece.row.ids, piece.first
    ([2, 5, 6, 7, 3], (1, 3))

A word's result is that of its first token, as in Devlin et al. 2018
(arXiv:1810.04805), section 5.3.
"""

import bisect
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from bertjax.text.batching import Row
from bertjax.text.tokenizer import Tokenizer


class Piece(NamedTuple):
  """Consecutive words of a sentence, most often all of them.

  Attributes:
    row: '[CLS] words [SEP]'.
    first: for each word, the position in the row of its first token.
    start: the index in the sentence of the piece's first word.
  """

  row: Row
  first: tuple[int, ...]
  start: int


def make(
  tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], length: int
) -> list[list[Piece]]:
  """Returns the pieces of each sentence; each word is in one of them.

  With length 5, 'a b c d e' becomes '[CLS] a b c [SEP]', '[CLS] d e [SEP]'. A
  sentence that is too long is divided between words into as few pieces as
  possible, the longest of them as short as possible.

  Args:
    tokenizer: the model's. A word without any token, such as a lone accent,
      becomes [UNK]. For BPE each word but a sentence's first has a space in
      front, as in running text.
    sentences: of any number of words; one without words gives no piece.
    length: the most ids of a row, special tokens included; at least 3. A word
      too long for a row of its own loses its last tokens.
  """
  room = tokenizer.room(length)
  unknown = [tokenizer.id_of('unk')]
  if tokenizer.rules is not None:
    sentences = [
      [*sentence[:1], *(f' {word}' for word in sentence[1:])]
      for sentence in sentences
    ]
  words = list({word: None for sentence in sentences for word in sentence})
  tokens = {
    word: encoding.ids[:room] or unknown
    for word, encoding in zip(words, tokenizer.pieces(words), strict=True)
  }
  found: list[list[Piece]] = []
  for sentence in sentences:
    ids = [tokens[word] for word in sentence]
    found.append([])
    for start, end in _spans([*map(len, ids)], room):
      # [CLS] stands before the first one.
      firsts = itertools.accumulate(map(len, ids[start : end - 1]), initial=1)
      row = tokenizer.row([*itertools.chain(*ids[start:end])])
      found[-1].append(Piece(row, tuple(firsts), start))
  return found


def _spans(sizes: Sequence[int], room: int) -> list[tuple[int, int]]:
  """Returns the words [start, end) of each piece."""
  most = room
  if sum(sizes) > room:
    fewest = len(_fill(sizes, room))
    narrow = range(max(sizes), room)
    most = narrow.start + bisect.bisect_left(
      narrow, True, key=lambda size: len(_fill(sizes, size)) <= fewest
    )
  return list(itertools.pairwise([*_fill(sizes, most), len(sizes)]))


def _fill(sizes: Sequence[int], most: int) -> list[int]:
  """Returns the first word of each piece if pieces are filled in turn."""
  firsts, used = [], most
  for i, size in enumerate(sizes):
    if used + size > most:
      firsts.append(i)
      used = 0
    used += size
  return firsts
