"""Sentences of a window of documents to sequences of one or two segments.

    examples = pairs.build(documents, length=128, next_sentence=True, seed=7)

Before: documents [[a b] [c d]] and [[x y]]  (sentences of token ids)
After:  a b [SEP] c d, label 0;  or  a b [SEP] x y, label 1

Walks a document as google-research/bert's `create_pretraining_data.py` does
(`create_instances_from_document`): sentences are gathered until a target
length, cut at random into A and B; half the time B comes from another document
instead, and what was not used goes back. A pure function of its arguments.

Deviation: where there is no other document or only one sentence, that
sentence is cut in two, B following A, so nothing is lost and nothing crashes.
"""

import dataclasses

import numpy as np

SHORT_SEQUENCES = 0.1  # Devlin et al. 2018, appendix A.2


@dataclasses.dataclass
class Document:
  """Token ids of a document, flat, and where its sentences end.

  Attributes:
    identity: documents (or pieces of one) with the same number are one.
    tokens: int32[T].
    ends: int64[n], end of each sentence in `tokens`, ascending, last is T.
  """

  identity: int
  tokens: np.ndarray
  ends: np.ndarray

  def slice(self, first: int, last: int) -> np.ndarray:
    """Returns the tokens of sentences first to last, last not included."""
    start = self.ends[first - 1] if first else 0
    return (
      self.tokens[start : self.ends[last - 1]]
      if last > first
      else (self.tokens[:0])
    )

  def reach(self, first: int, target: int) -> int:
    """Returns the sentence before which `target` tokens are gathered."""
    start = self.ends[first - 1] if first else 0
    last = int(np.searchsorted(self.ends, start + target)) + 1
    return min(last, len(self.ends))


Pair = tuple[np.ndarray, np.ndarray | None, int]  # A, B, label


def split_long_sentences(ends: np.ndarray, longest: int) -> np.ndarray:
  """Returns ends with every sentence above `longest` tokens cut in pieces."""
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
  """Returns the sequences of all documents of a window, in order.

  Args:
    documents: of one window; B comes from those of another identity.
    length: L, with room for [CLS] and one [SEP] a segment.
    next_sentence: pairs, else single segments (B is None, label 0).
    rng: source of all choices.
    short: probability of a target length below the full one.
  """
  identities = np.array([document.identity for document in documents])
  build_from = _pairs_of if next_sentence else _segments_of
  return [
    pair
    for document in documents
    for pair in build_from(document, documents, identities, length, rng, short)
  ]


def _target(room: int, rng, short: float) -> int:
  return int(rng.integers(2, room + 1)) if rng.random() < short else room


def _segments_of(document, documents, identities, length, rng, short):
  """Full sentences one after the other, up to the target length."""
  room, sentence = length - 2, 0
  while sentence < len(document.ends):
    last = document.reach(sentence, _target(room, rng, short))
    tokens = document.slice(sentence, last)
    if len(tokens) > room and last - sentence > 1:
      last -= 1  # the sentence that does not fit begins the next sequence
      tokens = document.slice(sentence, last)
    yield _truncate(tokens, None, room, rng)[0], None, 0
    sentence = last


def _pairs_of(document, documents, identities, length, rng, short):
  """A and B of one document, or B of another one half the time."""
  others = np.flatnonzero(identities != document.identity)
  room, sentence = length - 3, 0
  while sentence < len(document.ends):
    target = _target(room, rng, short)
    last = document.reach(sentence, target)
    # A takes at least one sentence, and leaves at least one where it can.
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


def _truncate(a, b, room: int, rng):
  """Drops tokens of the longer segment, at its front or back by chance."""
  over = len(a) + (0 if b is None else len(b)) - room
  if over <= 0:
    return a, b
  if b is None:
    front = int(rng.binomial(over, 0.5))
    return a[front : len(a) - (over - front)], b
  # One token at a time from the longer one, B on a tie, until both fit.
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
  return tuple(cut)
