"""Builds sequences of one or two segments from the sentences of documents.

    >>> sentences = Document(0, np.array([5, 6, 7, 8]), ends=np.array([2, 4]))
    >>> ((a, b, label),) = build([sentences], length=128, next_sentence=True,
    ...                          rng=np.random.default_rng(7), short=0.0)
    >>> a.tolist(), b.tolist(), label  # with another document, half are random
    ([5, 6], [7, 8], 0)

Walks a document like google-research/bert's `create_pretraining_data.py`
(`create_instances_from_document`): gathers sentences up to a target length and
cuts them at random into A and B. Half the time B comes from another document
instead, and the sentences not used are gathered again. A pure function of its
arguments.

Deviation: if there is no other document and only one sentence is left, it is
cut in two and B follows A, so that no text is lost.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

SHORT_SEQUENCES = 0.1  # Devlin et al. 2018, appendix A.2


@dataclasses.dataclass
class Document:
  """The token ids of a document and where its sentences end.

  Attributes:
    identity: the same number for all pieces of one document.
    tokens: int32[T].
    ends: int64[n], end of each sentence in `tokens`, ascending; the last is T.
  """

  identity: int
  tokens: np.ndarray
  ends: np.ndarray

  def slice(self, first: int, last: int) -> np.ndarray:
    """Returns the tokens of sentences [first, last)."""
    start = self.ends[first - 1] if first else 0
    return (
      self.tokens[start : self.ends[last - 1]]
      if last > first
      else (self.tokens[:0])
    )

  def reach(self, first: int, target: int) -> int:
    """Returns the `last` with which `slice` gives `target` tokens or more.

    At the end of the document it may be fewer.
    """
    start = self.ends[first - 1] if first else 0
    last = int(np.searchsorted(self.ends, start + target)) + 1
    return min(last, len(self.ends))


Pair = tuple[np.ndarray, np.ndarray | None, int]  # A, B, label


def split_long_sentences(ends: np.ndarray, longest: int) -> np.ndarray:
  """Returns the ends after cutting sentences of more than `longest` tokens."""
  starts = np.concatenate([[0], ends[:-1]])
  sizes = ends - starts
  if sizes.max(initial=0) <= longest:
    return ends[sizes > 0]
  return np.concatenate(
    [
      np.append(np.arange(start + longest, end, longest), end)
      for start, end in zip(starts, ends, strict=True)
      if end > start
    ]
  )


def build(
  documents: list[Document],
  length: int,
  next_sentence: bool,
  rng: np.random.Generator,
  short: float = SHORT_SEQUENCES,
) -> list[Pair]:
  """Returns the sequences of all documents, in order.

  Args:
    documents: a random B comes from one of another identity.
    length: L, with room for [CLS] and one [SEP] a segment.
    next_sentence: whether to build pairs; else single segments (B is None, the
      label 0).
    rng: makes all random choices.
    short: probability that the target length is drawn from those below the
      full one.
  """
  identities = np.array([document.identity for document in documents])
  build_from = _pairs_of if next_sentence else _segments_of
  return [
    pair
    for document in documents
    for pair in build_from(document, documents, identities, length, rng, short)
  ]


def _target(room: int, rng: np.random.Generator, short: float) -> int:
  return int(rng.integers(2, room + 1)) if rng.random() < short else room


def _segments_of(
  document: Document,
  documents: Sequence[Document],
  identities: np.ndarray,
  length: int,
  rng: np.random.Generator,
  short: float,
) -> Iterator[Pair]:
  """Yields full sentences, one after the other, up to the target length."""
  room, sentence = length - 2, 0
  while sentence < len(document.ends):
    last = document.reach(sentence, _target(room, rng, short))
    tokens = document.slice(sentence, last)
    if len(tokens) > room and last - sentence > 1:
      last -= 1  # the sentence that does not fit begins the next sequence
      tokens = document.slice(sentence, last)
    yield _truncate(tokens, None, room, rng)[0], None, 0
    sentence = last


def _pairs_of(
  document: Document,
  documents: Sequence[Document],
  identities: np.ndarray,
  length: int,
  rng: np.random.Generator,
  short: float,
) -> Iterator[Pair]:
  """Yields A and B from one document or, half the time, B from another."""
  others = np.flatnonzero(identities != document.identity)
  room, sentence = length - 3, 0
  while sentence < len(document.ends):
    target = _target(room, rng, short)
    last = document.reach(sentence, target)
    # A takes at least one sentence and, if there are more, leaves at least one.
    middle = sentence + 1
    if last - sentence > 2:
      middle = sentence + int(rng.integers(1, last - sentence))
    a = document.slice(sentence, middle)
    alone = last - sentence == 1
    if len(others) and (alone or rng.random() < 0.5):
      other = documents[others[rng.integers(len(others))]]
      first = int(rng.integers(len(other.ends)))
      b = other.slice(first, other.reach(first, max(1, target - len(a))))
      label, sentence = 1, middle
    elif alone:
      if len(a) < 2:
        return
      a, b = np.split(a, [int(rng.integers(1, len(a)))])
      label, sentence = 0, last
    else:
      b = document.slice(middle, last)
      label, sentence = 0, last
    yield *_truncate(a, b, room, rng), label


def _truncate(
  a: np.ndarray, b: np.ndarray | None, room: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
  """Drops tokens of the longer segment, at random from its front or back."""
  over = len(a) + (0 if b is None else len(b)) - room
  if over <= 0:
    return a, b
  if b is None:
    front = int(rng.binomial(over, 0.5))
    return a[front : len(a) - (over - front)], b
  # As if one token at a time left the longer one, B on a tie, until both fit.
  gap = len(a) - len(b)
  from_a = min(over, max(gap, 0))
  from_b = min(over, max(-gap, 0))
  from_both = over - from_a - from_b
  from_b += (from_both + 1) // 2
  from_a += from_both // 2
  cut = []
  for segment, drop in ((a, from_a), (b, from_b)):
    front = int(rng.binomial(drop, 0.5))
    cut.append(segment[front : len(segment) - (drop - front)])
  return cut[0], cut[1]
