"""Sentences given as words, as rows, and results for each word put back.

    (pieces,) = make(tokenizer, [('Rockwell', 'said')], length=128)
    results = ...  # for each piece an array [L]
    join(pieces, [array[list(piece.first)]
                  for piece, array in zip(pieces, results, strict=True)])

A word stands at its first token, as in Devlin et al. 2018 (arXiv:1810.04805),
section 5.3. Source: ours.
"""

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bertjax.text.batching import Row
from bertjax.text.tokenizer import Tokenizer


class Piece(NamedTuple):
  """Some words of a sentence, one after the other: most often all of them.

  Attributes:
    row: '[CLS] words [SEP]'.
    first: of each word here, the position in the row of its first token.
    start: the place in the sentence of the first word here.
  """

  row: Row
  first: tuple[int, ...]
  start: int


def make(
  tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], length: int
) -> list[list[Piece]]:
  """Returns the pieces of each sentence, which hold each word once.

  With length 6: 'a b c d e' to '[CLS] a b c [SEP]', '[CLS] d e [SEP]'. A
  sentence that is too long is divided between words into as few pieces as can
  be, the longest of them as short as can be.

  Args:
    tokenizer: of the model. What it finds no token in, such as an accent
      alone, becomes [UNK].
    sentences: of any number of words; one without words gives no piece.
    length: the most ids of a row, special tokens included; at least 3. A word
      that alone is longer loses its last tokens.
  """
  room = length - 2
  unknown = [tokenizer.ids['[UNK]']]
  words = list({word: None for sentence in sentences for word in sentence})
  tokens = {
    word: encoding.ids[:room] or unknown
    for word, encoding in zip(words, tokenizer.pieces(words), strict=True)
  }
  cls, sep = tokenizer.ids['[CLS]'], tokenizer.ids['[SEP]']
  return [
    [
      _piece(cls, sep, [tokens[word] for word in sentence[start:end]], start)
      for start, end in _spans([len(tokens[word]) for word in sentence], room)
    ]
    for sentence in sentences
  ]


def predict(
  tokenizer: Tokenizer,
  sentences: Sequence[Sequence[str]],
  labels: Sequence[str],
  length: int,
  logits_of: Callable[[Iterable[Row]], Iterator[np.ndarray]],
) -> list[list[str]]:
  """Returns the likeliest label of each word of each sentence.

  Args:
    tokenizer: see `make`.
    sentences: see `make`.
    labels: C names.
    length: see `make`.
    logits_of: rows to the logits of each, [L, C] or longer.
  """
  parts = make(tokenizer, sentences, length)
  logits = iter(logits_of(piece.row for pieces in parts for piece in pieces))
  return [
    [
      labels[i]
      for i in join(
        pieces, [next(logits)[list(piece.first)].argmax(-1) for piece in pieces]
      )
    ]
    for pieces in parts
  ]


def join(
  pieces: Sequence[Piece], results: Iterable[Sequence[Any]]
) -> list[Any]:
  """Returns one result for each word of a sentence.

  Args:
    pieces: of the sentence, see `make`.
    results: of each piece, one for each of its words.
  """
  return [
    result
    for piece, found in zip(pieces, results, strict=True)
    for _, result in zip(piece.first, found, strict=True)
  ]


def _piece(
  cls: int, sep: int, words: Sequence[Sequence[int]], start: int
) -> Piece:
  ids, first = [cls], []
  for word in words:
    first.append(len(ids))
    ids.extend(word)
  return Piece(Row([*ids, sep]), tuple(first), start)


def _spans(sizes: Sequence[int], room: int) -> list[tuple[int, int]]:
  """Returns the first word of each piece, and the one after its last."""
  if sum(sizes) <= room:
    return [(0, len(sizes))] if sizes else []
  fewest = len(list(_fill(sizes, room)))
  narrow = range(max(sizes), room)
  i = bisect.bisect_left(
    narrow, True, key=lambda most: len(list(_fill(sizes, most))) <= fewest
  )
  starts = list(_fill(sizes, narrow.start + i))
  return list(zip(starts, [*starts[1:], len(sizes)], strict=True))


def _fill(sizes: Sequence[int], most: int) -> Iterator[int]:
  """Yields the first word of each piece where each is filled in turn."""
  used = most
  for i, size in enumerate(sizes):
    if used + size > most:
      yield i
      used = 0
    used += size
