"""Builds sequences of one or two segments from the sentences of documents.

    >>> tokens, bounds = np.array([5, 6, 7, 8]), np.array([0, 2, 4])
    >>> sentences = Document(0, tokens, bounds)
    >>> ((a, b, label),) = build([sentences], length=128, next_sentence=True,
    ...                          rng=np.random.default_rng(7), short=0.0)
    >>> a.tolist(), b.tolist(), label  # with another document, half are random
    ([5, 6], [7, 8], 0)

Walks a document like google-research/bert's `create_pretraining_data.py`
(`create_instances_from_document`): gathers sentences up to a target length and
cuts them at random into A and B. Half the time B comes from another document
instead, and the sentences not used are gathered again. A pure function of its
arguments.

`PAIRS` has two more kinds. Sentence order (`sop`; Lan et al. 2019, ALBERT,
section 3.1): B follows A, and half the time they are swapped. Same document: B
comes from anywhere else in A's document or, half the time, from another one.

Deviation: the label is drawn first, and a single sentence whose B is to follow
is cut in two. There, a single sentence always gets a random B, so that 55% of
the pairs are random, and more where documents are short. A last token that is
alone, which cannot be cut, stays with the segment before it.
"""

import bisect
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

SHORT_SEQUENCES = 0.1  # Devlin et al. 2018, appendix A.2


@dataclasses.dataclass
class Document:
  """The token ids of a document and where its sentences begin.

  Attributes:
    identity: the same number for all pieces of one document.
    tokens: int32[T].
    bounds: int64[n + 1], where in `tokens` each of the n sentences begins, and
      the last one ends: ascending, from 0 to T.
  """

  identity: int
  tokens: np.ndarray
  bounds: np.ndarray

  def __post_init__(self) -> None:
    # Of one number at a time, a list is several times as fast as an array.
    self._bounds: list[int] = self.bounds.tolist()

  def __len__(self) -> int:
    return len(self._bounds) - 1

  def slice(self, first: int, last: int) -> np.ndarray:
    """Returns the tokens of sentences [first, last)."""
    return self.tokens[self._bounds[first] : self._bounds[last]]

  def after(self, sentence: int) -> int:
    """Returns how many tokens follow those before a sentence."""
    return self._bounds[-1] - self._bounds[sentence]

  def reach(self, first: int, target: int) -> int:
    """Returns the `last` with which `slice` gives `target` tokens or more.

    At the end of the document it may be fewer.
    """
    end = self._bounds[first] + target
    return min(bisect.bisect_left(self._bounds, end), len(self))


Pair = tuple[np.ndarray, np.ndarray | None, int]  # A, B, label


def split_long_sentences(ends: np.ndarray, longest: int) -> np.ndarray:
  """Returns the bounds of sentences, cut where they exceed `longest` tokens.

  Args:
    ends: int64[n], end of each sentence, ascending; that of an empty one, which
      is left out, is that of the sentence before.
    longest: tokens.
  """
  bounds = np.append(0, ends)
  lengths = np.diff(bounds)
  if not (long := np.flatnonzero(lengths > longest)).size:
    return bounds[np.append(True, lengths > 0)]  # nearly always
  cuts = [np.arange(bounds[i], bounds[i + 1], longest) for i in long]
  return np.unique(np.concatenate([bounds, *cuts]))


def build(
  documents: list[Document],
  length: int,
  next_sentence: bool,
  rng: np.random.Generator,
  short: float = SHORT_SEQUENCES,
  kind: str = 'nsp',
  separators: int = 1,
) -> list[Pair]:
  """Returns the sequences of all documents, in order.

  Args:
    documents: a random B comes from one of another identity.
    length: L, with room for [CLS] and [SEP].
    next_sentence: whether to build pairs; else single segments (B is None, the
      label 0).
    rng: makes all random choices.
    short: probability that the target length is drawn from those below the
      full one.
    kind: of the pairs, a key of `PAIRS`.
    separators: that stand between A and B; one more follows.
  """
  found: list[Pair] = []
  for document in documents:
    if next_sentence:
      others = [x for x in documents if x.identity != document.identity]
      room = length - 2 - separators
      found += PAIRS[kind](document, others, room, rng, short)
    else:
      found += _segments_of(document, length - 2, rng, short)
  return found


def cuts(
  documents: list[Document],
  length: int,
  rng: np.random.Generator,
  kind: str = 'nsp',
) -> list[bool]:
  """Returns of each pair that `build` makes whether it is one sentence, cut."""
  numbered, first = [], 0  # with the number of its sentence as each token
  for document in documents:
    sentences = np.arange(first, first + len(document))
    tokens = sentences.repeat(np.diff(document.bounds))
    numbered.append(dataclasses.replace(document, tokens=tokens))
    first += len(document)
  found = build(numbered, length, True, rng, kind=kind)
  return [b is not None and bool(np.isin(a, b).any()) for a, b, _ in found]


def fit(room: int, a: int, b: int = 0) -> tuple[int, int]:
  """Returns the most tokens that each of two texts may keep.

  As if one token at a time left the longer one, b on a tie, until both fit: as
  in google-research/bert `_truncate_seq_pair`.

      >>> fit(6, 9, 2), fit(7, 9, 9)
      ((4, 3), (4, 3))

  Args:
    room: the most tokens of both.
    a: tokens of the first text.
    b: tokens of the second text, if there is one.
  """
  return max(room - b, (room + 1) // 2), max(room - a, room // 2)


def _below(high: int, rng: np.random.Generator) -> int:
  """Returns a whole number in [0, high), ten times as fast as `rng.integers`.

  Not exactly uniform: off by a share of high / 2**53.
  """
  return int(rng.random() * high)


def _target(room: int, rng: np.random.Generator, short: float) -> int:
  return 2 + _below(room - 1, rng) if rng.random() < short else room


def _segments_of(
  document: Document, room: int, rng: np.random.Generator, short: float
) -> Iterator[Pair]:
  """Yields full sentences, one after the other, up to the target length."""
  sentence = 0
  while sentence < len(document):
    last = document.reach(sentence, _target(room, rng, short))
    # A sentence that does not fit begins the next sequence.
    if last - sentence > 1 and len(document.slice(sentence, last)) > room:
      last -= 1
    yield _shorten(document.slice(sentence, last), room, rng), None, 0
    sentence = last


def _pairs_of(
  document: Document,
  others: Sequence[Document],
  room: int,
  rng: np.random.Generator,
  short: float,
) -> Iterator[Pair]:
  """Yields A and B from one document or, half the time, B from another."""
  sentence = 0
  while sentence < len(document):
    target, middle, last = _next(document, sentence, room, rng, short)
    a, b = document.slice(sentence, middle), document.slice(middle, last)
    alone = last - sentence == 1
    is_random = _is_from_other(document, others, rng)
    if is_random:
      middle = _with_last_token(document, middle)
      a = document.slice(sentence, middle)
      other = others[_below(len(others), rng)]
      first = _below(len(other), rng)
      b = other.slice(first, other.reach(first, max(1, target - len(a))))
    elif alone:
      if len(a) < 2:
        return
      a, b = _cut(a, rng)
    yield _fitting(a, b, int(is_random), room, rng)
    sentence = middle if is_random else last


def _orders_of(
  document: Document,
  others: Sequence[Document],
  room: int,
  rng: np.random.Generator,
  short: float,
) -> Iterator[Pair]:
  """Yields two segments that follow each other; label 1: they are swapped."""
  sentence = 0
  while sentence < len(document) and len(document.tokens) > 1:
    _, middle, last = _next(document, sentence, room, rng, short)
    a, b = document.slice(sentence, middle), document.slice(middle, last)
    if last - sentence == 1:
      a, b = _cut(a, rng)
    is_swapped = rng.random() < 0.5
    # Swapped before they are shortened, so that no length tells the label.
    first, second = (b, a) if is_swapped else (a, b)
    yield _fitting(first, second, int(is_swapped), room, rng)
    sentence = last


def _same_documents_of(
  document: Document,
  others: Sequence[Document],
  room: int,
  rng: np.random.Generator,
  short: float,
) -> Iterator[Pair]:
  """Yields A and a B from elsewhere in its document; label 1: in another."""
  sentence = 0
  while sentence < len(document):
    target, middle, _ = _next(document, sentence, room, rng, short)
    middle = _with_last_token(document, middle)
    a = document.slice(sentence, middle)
    rest = len(document) - (middle - sentence)  # sentences that A leaves
    is_other = _is_from_other(document, others, rng)
    if is_other:
      other = others[_below(len(others), rng)]
      first, end = _below(len(other), rng), len(other)
    elif rest:
      other, first, end = document, _below(rest, rng), sentence
      if first >= sentence:  # not before A, so behind it
        first, end = first + middle - sentence, len(document)
    elif len(a) < 2:
      return
    if is_other or rest:
      last = other.reach(first, max(1, target - len(a)))
      b = other.slice(first, min(last, end))
    else:
      a, b = _cut(a, rng)
    yield _fitting(a, b, int(is_other), room, rng)
    sentence = middle


def _next(
  document: Document,
  sentence: int,
  room: int,
  rng: np.random.Generator,
  short: float,
) -> tuple[int, int, int]:
  """Returns a target length, and where A and B end that begin at a sentence."""
  target = _target(room, rng, short)
  last = _with_last_token(document, document.reach(sentence, target))
  # A takes at least one sentence and, if there are more, leaves at least one.
  middle = sentence + 1 + _below(max(1, last - sentence - 1), rng)
  return target, middle, last


def _is_from_other(
  document: Document, others: Sequence[Document], rng: np.random.Generator
) -> bool:
  """Draws whether B is of another document, if there is one."""
  # After a document of one token, nothing can follow.
  return bool(others) and (document.after(0) == 1 or rng.random() < 0.5)


def _cut(
  tokens: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Cuts two tokens or more in two at a random place."""
  place = 1 + _below(len(tokens) - 1, rng)
  return tokens[:place], tokens[place:]


def _fitting(
  a: np.ndarray, b: np.ndarray, label: int, room: int, rng: np.random.Generator
) -> Pair:
  most_a, most_b = fit(room, len(a), len(b))
  return _shorten(a, most_a, rng), _shorten(b, most_b, rng), label


def _with_last_token(document: Document, end: int) -> int:
  """Returns the end of the document if one token is left there, else `end`."""
  return len(document) if document.after(end) == 1 else end


def _shorten(
  tokens: np.ndarray, most: int, rng: np.random.Generator
) -> np.ndarray:
  """Drops tokens at random from the front and the back."""
  over = len(tokens) - most
  if over <= 0:
    return tokens
  front = int(rng.binomial(over, 0.5))
  return tokens[front : front + most]


# name -> (document, others, room, rng, short) -> its pairs; `others` are the
# documents that a B of another one may come from.
PAIRS: dict[
  str,
  Callable[
    [Document, Sequence[Document], int, np.random.Generator, float],
    Iterator[Pair],
  ],
] = {
  'nsp': _pairs_of,
  'sop': _orders_of,
  'same_document': _same_documents_of,
}
