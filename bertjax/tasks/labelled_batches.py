"""Training batches of labelled rows: shuffled, packed, resumable at any batch.

    >>> rows = Rows.of([(Row([2, 7, 3]), 0), (Row([2, 3]), 1)])
    >>> batches = LabelledBatches(rows, batch_size=2, length=8, seed=0)
    >>> sorted(next(batches)['labels'].tolist())
    [[0], [1]]
    >>> batches.position()
    {'batches': b'1'}

A batch holds the next `batch_size` rows in an order that depends on (seed,
epoch) alone. They are padded to the nearest of a few lengths, or packed into
fewer rows; the update is the same.
"""

import dataclasses
import tempfile
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, cast

import jax
import numpy as np
from jax.sharding import Mesh

from bertjax.batch import Key
from bertjax.errors import UserError, expect
from bertjax.parallel import partitioning
from bertjax.text import batching, packing
from bertjax.text.batching import Row

NO_TAG = -1  # of a token for which no tag is predicted
# Of a row, by kind of task: a class id; a number; C times 0 or 1; a tag id or
# `NO_TAG` for each token; or the first and last token of a span.
Label = int | float | Sequence[int] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Rows:
  """Rows and labels; the tokens are in a file, so that memory stays flat.

  Attributes:
    ids: int32[tokens of all rows].
    starts: int64[n + 1], where in `ids` each row begins, and the last one ends.
    seconds: int32[n], where sentence B begins in a row; without one, the row's
      length.
    labels: [n, ...]; or [tokens of all rows] if each token has one.
    label: their dimensions and dtype in a batch, see `kinds.Kind`.
    cut: how many rows lack some tokens of their example.
  """

  ids: np.ndarray
  starts: np.ndarray
  seconds: np.ndarray
  labels: np.ndarray
  label: Key
  cut: int

  @classmethod
  def of(
    cls, rows: Iterable[tuple[Row, Label]], label: Key = ('BS', np.int32)
  ) -> 'Rows':
    """Collects rows and their labels.

    Args:
      rows: pairs of a row and its label.
      label: dimensions and dtype of the labels, see `kinds.Kind`.

    Raises:
      UserError: there are no rows, or labels of tokens that are no ids.
    """
    starts, seconds = array('q', [0]), array('i')
    collected: list[Label] = []
    cut = 0
    of_tokens = label[0][1] == 'L'
    valid = not of_tokens or label == ('BL', np.int32)
    expect(valid, "('BL', int32) for labels of tokens", label, 'Kind.label')
    with tempfile.TemporaryFile() as ids, tempfile.TemporaryFile() as tags:
      for row, value in rows:
        array('i', row.ids).tofile(ids)
        starts.append(starts[-1] + len(row.ids))
        seconds.append(len(row.ids) if row.second is None else row.second)
        cut += bool(row.source and row.source.cut)
        if of_tokens:
          array('i', cast(Sequence[int], value)).tofile(tags)
        else:
          collected.append(value)
      if not seconds:
        raise UserError('expected examples to train on, but there are none')
      labels = _map(tags) if of_tokens else np.asarray(collected, label[1])
      places = np.asarray(starts), np.asarray(seconds)
      return cls(_map(ids), *places, labels, label, cut)

  def __len__(self) -> int:
    return len(self.seconds)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Returns the entries of a row in a batch, see `batching.join`."""
    place = slice(self.starts[index], self.starts[index + 1])
    sequence = batching.entries(Row(self.ids[place], self.seconds[index]))
    if self.label[0] != 'BL':
      label = self.labels[index : index + 1]
      return {**sequence, 'labels': label, 'label_weights': [1]}
    tags = self.labels[place]
    labels, weights = np.maximum(tags, 0), tags != NO_TAG
    return {**sequence, 'labels': labels, 'label_weights': weights}


def _map(file: BinaryIO) -> np.ndarray:
  file.flush()
  return np.memmap(file, np.int32, mode='r')


@dataclasses.dataclass
class LabelledBatches:
  """An endless iterator of batches.

  Attributes:
    rows: the training set.
    batch_size: rows of an update.
    length: the longest row that is allowed.
    seed: orders the rows of each epoch.
    pack: whether short rows share a row of `length` tokens.
    mesh: the rows of a batch are divided among its devices, and only those of
      this process are returned; None: one device.
  """

  rows: Rows
  batch_size: int
  length: int
  seed: int
  pack: bool = False
  mesh: Mesh | None = None

  def __post_init__(self) -> None:
    self._sizes = np.diff(self.rows.starts)
    self._done = 0  # batches
    self._epoch, self._order = -1, np.zeros(0, np.int64)

  def __iter__(self) -> 'LabelledBatches':
    return self

  def __next__(self) -> Mapping[str, jax.Array | np.ndarray]:
    first = self._done * self.batch_size
    chosen = [self._index(first + i) for i in range(self.batch_size)]
    self._done += 1
    sizes = self._sizes[chosen].tolist()
    if self.pack:
      groups = packing.pack(sizes, lambda _: self.length)
      # Eighths of the batch, for few shapes.
      step, columns = max(1, self.batch_size // 8), self.length
    else:
      groups, step = [[i] for i in range(self.batch_size)], 1
      # To a quarter of the length, since each shape is compiled.
      quarter = -(-self.length // 4)
      columns = min(self.length, -(-max(sizes) // quarter) * quarter)
    count = -(-len(groups) // step) * step
    multiple = partitioning.batch_parts(self.mesh) if self.mesh else 1
    label = self.rows.label
    batch = batching.join(
      [[self.rows[chosen[i]] for i in group] for group in groups],
      -(-count // multiple) * multiple,
      {'L': columns, 'S': 1 << (max(map(len, groups)) - 1).bit_length()},
      {'labels': label, 'label_weights': (label[0][:2], np.float32)},
    )
    return partitioning.own_rows(batch, self.mesh) if self.mesh else batch

  def position(self) -> dict[str, bytes]:
    """Returns how many batches were made, for `restore`."""
    return {'batches': str(self._done).encode()}

  def restore(self, position: dict[str, bytes]) -> None:
    """Continues from a result of `position`."""
    self._done = int(position['batches'])

  def _index(self, place: int) -> int:
    """Returns the row at a place in the concatenation of all epochs."""
    epoch, place = divmod(place, len(self.rows))
    if self._epoch != epoch:
      rng = np.random.default_rng((self.seed, epoch))
      self._epoch, self._order = epoch, rng.permutation(len(self.rows))
    return int(self._order[place])
