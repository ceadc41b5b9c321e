"""Batches of a corpus: deterministic, prefetched, resumable; numpy only.

    batches = iter(pipeline.batches(prepared, batch_size=32, length=128,
                                    predictions=20, seed=0))
    batch = next(batches)              # dict of numpy arrays, see bertjax.batch
    position = batches.position()      # {'stream_0': b'...', ...}
    batches.restore(position)          # the same batches follow again

The order is defined by a fixed number of streams, not by processes. Stream s of
n takes the windows (see `windows`) s, s + n, s + 2n, ..., and fills fixed rows
of every global batch; a process computes the streams whose rows it feeds. The
global batches thus depend only on corpus, seed and sizes, and a position, a few
numbers a stream, can be restored on another number of processes.
`bertjax.data.seqio_pipeline` gives the same batches through seqio.
"""

import collections
import dataclasses
import json
import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from typing import Annotated, Any

import numpy as np

from bertjax.corpus import shards
from bertjax.corpus.mixtures import Mixture
from bertjax.corpus.preparation import Prepared
from bertjax.corpus.windows import FEWEST_PIECES, Form, Windows, form_of
from bertjax.errors import UserError, choose, expect
from bertjax.text import hashing
from bertjax.values import Count, Natural, Seed, checked

# More streams allow more processes, but each computes a window of its own
# before the first batch.
STREAMS = 4
_AHEAD = 8  # batches that are made while the step runs

Rows = dict[str, np.ndarray]


class Stream:
  """The rows of every n-th window of a corpus, or of several that are mixed."""

  def __init__(
    self,
    parts: Sequence[Windows],
    mixture: Mixture,
    number: int,
    streams: int,
    rows: int,
    seed: int,
    epochs: int | None,
  ):
    """Computes nothing yet.

    Args:
      parts: the windows of each corpus.
      mixture: says which corpus a row is from.
      number: of the stream, below `streams`.
      streams: n.
      rows: of the stream in a global batch.
      seed: for the choice of the corpus.
      epochs: None: without end, each row from a corpus that is drawn; else all
        rows of one corpus after the other, as often as this.
    """
    self._parts, self._mixture = parts, mixture
    self._number, self._streams, self._rows = number, streams, rows
    self._seed, self._epochs = seed, epochs
    self._taken = 0  # rows so far
    # Of each part, the next window and how many rows of it were taken.
    self._places = [[number, 0] for _ in parts]
    self._opened: list[tuple[int, Rows] | None] = [None] * len(parts)

  def position(self) -> bytes:
    """Returns what `restore` needs."""
    return json.dumps([self._taken, self._places]).encode()

  def restore(self, position: bytes) -> None:
    """Goes to a position; raises UserError if it is of another kind."""
    try:
      taken, places = json.loads(position)
      fits = len(places) == len(self._parts)
    except ValueError:
      fits = False
    if not fits:
      raise UserError(
        'the checkpoint holds a position in other data, or of another version '
        'of bertjax; set INIT_FROM to this run, and RUN_DIR to a new one'
      )
    self._taken, self._places = taken, places

  def next(self) -> Rows | None:
    """Returns the next rows: fewer than asked for, or None, at the end."""
    if self._epochs is not None:
      found = self._in_turn()
    else:
      choice = self._mixture.choose(
        np.arange(self._taken, self._taken + self._rows),
        self._taken // self._rows,
        self._seed,
        self._number,
      )
      found = [
        (np.flatnonzero(choice == i), self._take(i, int((choice == i).sum())))
        for i in range(len(self._parts))
      ]
    count = sum(len(places) for places, _ in found)
    self._taken += count
    if len(found) == 1 or not count:
      return found[0][1] if count else None
    rows: Rows = {}
    for places, some in found:
      for key, array in some.items():
        like = ((count, *array.shape[1:]), array.dtype)
        rows.setdefault(key, np.zeros(*like))[places] = array
    return rows

  def _in_turn(self) -> list[tuple[np.ndarray, Rows]]:
    found, taken = [], 0
    for i in range(len(self._parts)):
      rows = self._take(i, self._rows - taken)
      count = len(rows.get('tokens', ()))
      found.append((np.arange(taken, taken + count), rows))
      taken += count
    return found

  def _take(self, part: int, count: int) -> Rows:
    """Takes rows of a part, fewer at its end."""
    windows, found, empty = self._parts[part], [], 0
    end = None if self._epochs is None else self._epochs * len(windows)
    while count:
      window, first = self._places[part]
      if end is not None and window >= end:
        break
      rows = self._window(part, window)
      size = len(rows['tokens'])
      some = min(count, size - first)
      if some:
        found.append({k: x[first : first + some] for k, x in rows.items()})
      count -= some
      self._places[part] = [window, first + some]
      if first + some == size:
        self._places[part] = [window + self._streams, 0]
      empty = 0 if size else empty + 1
      if end is None and empty > len(windows):
        raise UserError(
          'expected text that gives sequences, got documents of a token or '
          'two; set TEXT_FILES or CORPUS_DIR'
        )
    if len(found) == 1:
      return found[0]
    keys = found[0] if found else ()
    return {key: np.concatenate([x[key] for x in found]) for key in keys}

  def _window(self, part: int, number: int) -> Rows:
    opened = self._opened[part]
    if opened is None or opened[0] != number:
      opened = self._opened[part] = number, self._parts[part].rows(number)
    return opened[1]


@dataclasses.dataclass(frozen=True)
class Batches:
  """Batches of a corpus; each iterator starts at the beginning.

  Attributes:
    parts: the windows of each corpus.
    mixture: see `Stream`.
    streams: how many there are.
    rows: how many rows of a batch a stream has.
    own: numbers of the streams of this process.
    picked: which of their rows to return, in this order: int[...] places in
      `own`, and int[...] rows of these.
    seed: see `Stream`.
    epochs: see `Stream`.
  """

  parts: Sequence[Windows]
  mixture: Mixture
  streams: int
  rows: int
  own: Sequence[int]
  picked: tuple[np.ndarray, np.ndarray]
  seed: int
  epochs: int | None

  def __iter__(self) -> 'BatchIterator':
    return BatchIterator(self)


class BatchIterator(Iterator[Rows]):
  """This process's rows of the global batches, with a position to save.

  A thread makes the batches that come next.
  """

  def __init__(self, batches: Batches):
    self._batches = batches
    self._streams = {
      f'stream_{number}': Stream(
        batches.parts,
        batches.mixture,
        number,
        batches.streams,
        batches.rows,
        batches.seed,
        batches.epochs,
      )
      for number in batches.own
    }
    self._position = self._positions()
    self._ahead: collections.deque[futures.Future[Any]] = collections.deque()
    self._thread = futures.ThreadPoolExecutor(1, 'batches')
    weakref.finalize(
      self, self._thread.shutdown, wait=False, cancel_futures=True
    )

  def __next__(self) -> Rows:
    """Returns the next batch; the last ones are padded with empty rows.

    Raises:
      StopIteration: all streams have ended.
      UserError: a shard cannot be read.
    """
    while len(self._ahead) < _AHEAD:
      self._ahead.append(
        self._thread.submit(_make, self._batches, self._streams)
      )
    batch, position = self._ahead.popleft().result()
    if batch is None:
      raise StopIteration
    self._position = position
    return batch

  def _positions(self) -> dict[str, bytes]:
    return {name: x.position() for name, x in self._streams.items()}

  def position(self) -> dict[str, bytes]:
    """Returns the position of each stream, for `restore`."""
    return self._position

  def restore(self, position: Mapping[str, bytes]) -> None:
    """Continues from what `position` returned, in this or another process.

    Raises:
      UserError: the position is of other data.
    """
    futures.wait(self._ahead)
    self._ahead.clear()
    for name, stream in self._streams.items():
      stream.restore(position.get(name, b''))
    self._position = self._positions()


def _make(
  batches: Batches, streams: Mapping[str, Stream]
) -> tuple[Rows | None, dict[str, bytes]]:
  """Returns a batch, None at the end, and the position after it."""
  parts = [stream.next() for stream in streams.values()]
  position = {name: stream.position() for name, stream in streams.items()}
  some = next((part for part in parts if part is not None), None)
  if some is None:
    return None, position
  batch = {}
  for key, like in some.items():
    whole = np.zeros((len(parts), batches.rows, *like.shape[1:]), like.dtype)
    for rows, part in zip(whole, parts, strict=True):
      if part is not None:
        rows[: len(part[key])] = part[key]
    batch[key] = whole[batches.picked]
  return batch, position


@checked
def batches(
  corpus: Prepared | Mixture,
  batch_size: Count,
  length: Count,
  predictions: Natural,
  seed: Seed,
  split: str = 'train',
  epochs: Count | None = None,
  shuffle: bool = True,
  streams: Count = STREAMS,
  process_rows: Sequence[int] | np.ndarray | None = None,
  **form: Annotated[Any, Form],
) -> Batches:
  """Returns the batches of a corpus.

  Args:
    corpus: a prepared one, or several that are mixed.
    batch_size: B of the global batch, over all processes.
    length: L, tokens per row.
    predictions: P, the most targets per row.
    seed: for shuffling, pairing, masking and mixing; the same seed gives the
      same batches.
    split: 'train' or 'validation'.
    epochs: how often to read the split; None: forever. With a number, every
      example comes exactly once per epoch, and the last batches are padded.
    shuffle: whether documents are read in random order.
    streams: the most streams; their greatest common divisor with the batch size
      is used.
    process_rows: which rows of the global batch this process returns,
      ascending, see `partitioning.process_rows`; None: all. The process runs
      the streams of these rows, some of which other processes may run too.
    **form: fields of `windows.Form`, such as `mask_rate`.

  Raises:
    UserError: there is no such split, it is empty and to be read forever, or
      what rows are to hold does not go together.
  """
  name = 'pipeline.batches.split'  # which recipes set in scopes
  choose(dict.fromkeys(shards.SPLITS), split, f'train/{name} or eval/{name}')
  rows_form = form_of(length, predictions, form, 'pipeline.batches')
  mixture = corpus if isinstance(corpus, Mixture) else Mixture([corpus])
  for each in mixture.corpora if epochs is None else ():
    what = f'documents in the split {split!r} of {each.path}'
    fix = f'held_out_fraction to another, or TEXT_FILES to more, or {name}'
    expect(len(each.split(split)), what, 'none', fix)
  streams = streams_of(mixture, split, batch_size, streams)
  parts = windows_of(mixture, split, rows_form, seed, streams, shuffle)
  rows, own, picked = own_streams(batch_size, streams, process_rows)
  return Batches(parts, mixture, streams, rows, own, picked, seed, epochs)


def streams_of(
  mixture: Mixture, split: str, batch_size: int, most: int = STREAMS
) -> int:
  """Returns how many streams fill a batch: one, where there is little text."""
  streams = math.gcd(batch_size, most)
  pieces = min(len(x.split(split)) for x in mixture.corpora)
  return streams if pieces >= FEWEST_PIECES * streams else 1


def windows_of(
  mixture: Mixture,
  split: str,
  form: Form,
  seed: int,
  streams: int,
  shuffle: bool,
) -> list[Windows]:
  """Returns the windows of each corpus; the arguments are those of `batches`.

  A document that is in two corpora is paired and masked differently in each.
  """
  seeds = [
    seed,
    *(
      int(hashing.mix(seed, i) >> np.uint64(1))
      for i in range(1, len(mixture.corpora))
    ),
  ]
  return [
    Windows(x.split(split), x.vocabulary, form, own, streams, shuffle)
    for x, own in zip(mixture.corpora, seeds, strict=True)
  ]


def own_streams(
  batch_size: int,
  streams: int,
  process_rows: Sequence[int] | np.ndarray | None,
) -> tuple[int, list[int], tuple[np.ndarray, np.ndarray]]:
  """Returns `Batches.rows`, `own` and `picked`.

  Args:
    batch_size: B.
    streams: how many there are.
    process_rows: see `batches`.
  """
  rows = batch_size // streams
  wanted = (
    np.arange(batch_size) if process_rows is None else np.asarray(process_rows)
  )
  known = np.isin(wanted, np.arange(batch_size)).all()
  what = f'rows of a batch of {batch_size}'
  expect(known, what, wanted.tolist(), 'process_rows')
  own, places = np.unique(wanted // rows, return_inverse=True)
  return rows, own.tolist(), (places, wanted % rows)
