"""Counts what is dropped of documents, and asks whether they came before.

tally = Tally()
with Seen('/tmp/bands', jaccard=0.8) as seen:
  for lines in tally.keep(rows, seen):  # what a `steps.cleaner` returned
    ...
  stay = tally.leave_out(seen.near())
"""

import contextlib
import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow

from bertjax.corpus import near_duplicates

EXACT, NEAR = 'exact_duplicate', 'near_duplicate'
REPEATED = 'repeated_paragraphs'  # all of them, of different documents perhaps
# Of each rule so many documents are kept to look at, cut to so many characters.
_SAMPLES, _SAMPLE_CHARACTERS = 5, 600
_LINES_BYTES = 1 << 20


class Earlier(Protocol):
  """Knows what stood in documents that come before the one at hand.

  Of a document, `repeats` is called first, unless a rule drops it, then
  `are_new` if it goes on, and `add` if it stays.
  """

  def repeats(self, digest: int | None) -> bool:
    """Whether an earlier document has the same hash; None: it has none."""

  def are_new(self, paragraphs: Sequence[int]) -> list[bool]:
    """Tells of the hashes of paragraphs which stood in no earlier document."""

  def add(self, signature: bytes | None) -> None:
    """Is told of a document that stays."""


class Seen(contextlib.ExitStack):
  """Remembers, in memory and in a folder, the documents that came by."""

  def __init__(self, folder: str, jaccard: float | None):
    """Makes an index in `folder` for near duplicates; None: they may stay."""
    super().__init__()
    self._documents: set[int] = set()
    self._paragraphs: set[int] = set()
    self._count = 0
    self._index = None
    if jaccard is not None:
      self._index = self.enter_context(
        near_duplicates.NearDuplicates(folder, jaccard)
      )

  def repeats(self, digest: int | None) -> bool:
    if digest is None or digest in self._documents:
      return digest is not None
    self._documents.add(digest)
    return False

  def are_new(self, paragraphs: Sequence[int]) -> list[bool]:
    new = [digest not in self._paragraphs for digest in paragraphs]
    self._paragraphs.update(paragraphs)
    return new

  def add(self, signature: bytes | None) -> None:
    self._count += 1
    if self._index is not None and signature is not None:
      self._index.add(np.frombuffer(signature, np.uint32))

  def near(self) -> np.ndarray:
    """Returns bool[documents], of those that stay, which an earlier is like."""
    if self._index is None:
      return np.zeros(self._count, bool)
    return self._index.duplicates()


@dataclasses.dataclass
class Tally:
  """Counts what happened to documents.

  Attributes:
    read: documents.
    kept: documents; after `leave_out`, without near duplicates.
    dropped: rule -> documents.
    removed_lines: rule -> lines of documents that stay or are near duplicates.
    replaced: kind of personal data -> how often, in the same documents.
    samples: rule -> the first documents that it dropped, cut; of near
      duplicates none, for they are known at the end.
  """

  read: int = 0
  kept: int = 0
  dropped: Counter[str] = dataclasses.field(default_factory=Counter)
  removed_lines: Counter[str] = dataclasses.field(default_factory=Counter)
  replaced: Counter[str] = dataclasses.field(default_factory=Counter)
  samples: dict[str, list[str]] = dataclasses.field(default_factory=dict)

  def keep(
    self, rows: Iterable[pyarrow.RecordBatch], earlier: Earlier
  ) -> Iterator[list[str]]:
    """Yields the lines of each document that stays, then an empty list.

    Args:
      rows: what a `cleaner` returned, in the order of the documents.
      earlier: is asked about what came before.
    """
    for batch in rows:
      # In UTF-8, as the spool keeps it: a long string takes twice as much.
      texts = batch['text'].cast(pyarrow.binary()).to_pylist()
      columns = (column.to_pylist() for column in batch.columns[1:])
      for text, rule, counts, digest, paragraphs, signature in zip(
        texts, *columns, strict=True
      ):
        self.read += 1
        removed, replaced = json.loads(counts)
        if not rule and earlier.repeats(digest):
          rule = EXACT
        if not rule and paragraphs is not None:
          new = earlier.are_new(paragraphs)
          removed['repeated_paragraph'] = new.count(False)
          if any(new):
            text = b'\n'.join(itertools.compress(text.split(b'\n'), new))
          else:
            rule = REPEATED
        if rule:
          self.dropped[rule] += 1
          begin = text[: 4 * _SAMPLE_CHARACTERS].decode(errors='ignore')
          self.add_sample(rule, begin)
          continue
        self.removed_lines.update(removed)
        self.replaced.update(replaced)
        earlier.add(signature)
        self.kept += 1
        yield from _lines(text)
        yield []

  def leave_out(self, near: np.ndarray) -> np.ndarray:
    """Counts near duplicates, bool[kept]; returns which documents stay."""
    if gone := int(near.sum()):
      self.kept -= gone
      self.dropped[NEAR] += gone
    return ~near

  def add_sample(self, rule: str, text: str) -> None:
    """Keeps a document that a rule dropped, if there are few of it."""
    samples = self.samples.setdefault(rule, [])
    if len(samples) < _SAMPLES:
      samples.append(text[:_SAMPLE_CHARACTERS])

  def as_json(self) -> dict[str, Any]:
    """Returns what `from_json` takes."""
    return {**vars(self)}

  @classmethod
  def from_json(cls, found: dict[str, Any]) -> 'Tally':
    """Returns the tally that `as_json` was called on."""
    counters = ('dropped', 'removed_lines', 'replaced')
    return cls(**{**found, **{name: Counter(found[name]) for name in counters}})

  def merge(self, other: 'Tally') -> None:
    """Adds what was counted of the documents that follow."""
    self.read += other.read
    self.kept += other.kept
    for mine, theirs in (
      (self.dropped, other.dropped),
      (self.removed_lines, other.removed_lines),
      (self.replaced, other.replaced),
    ):
      mine.update(theirs)
    for rule, texts in other.samples.items():
      for text in texts:
        self.add_sample(rule, text)


def _lines(text: bytes) -> Iterator[list[str]]:
  """Yields the lines of a text, those of about a megabyte at once."""
  start = 0
  while (end := text.find(b'\n', start + _LINES_BYTES)) >= 0:
    yield text[start:end].decode().split('\n')
    start = end + 1
  yield text[start:].decode().split('\n')
