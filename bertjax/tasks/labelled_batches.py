"""Labelled rows as training batches: shuffled, packed, resumable to the batch.

    rows = Rows.of(encoder.rows(examples), kind='classes')
    batches = Batches(rows, batch_size=32, length=128, seed=0)
    batch = next(batches)              # see bertjax.batch
    position = batches.position()      # and batches.restore(position)

A batch is `batch_size` rows of an epoch's order, which follows from (seed,
epoch) alone. Padded to the nearest of a few lengths, or packed into as few rows
as hold them: the update is the same. Source: ours.
"""

import tempfile
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from jax.sharding import Mesh

from bertjax.errors import UserError
from bertjax.parallel import partitioning
from bertjax.text import batching, packing
from bertjax.text.batching import Row

NO_TAG = -1  # of a token that no tag is predicted for


class Rows:
  """Rows and labels, their tokens in a file, so that memory stays flat.

  Attributes:
    kind: of the labels, see `specs.Task`.
    ids: int32[tokens of all rows].
    starts: int64[n + 1], where each row begins.
    seconds: int32[n], where sentence B begins in a row; its length if nowhere.
    labels: [n, ...]; of 'tags' [tokens of all rows].
  """

  def __init__(self, kind: str, ids, starts, seconds, labels):
    self.kind, self.ids, self.labels = kind, ids, labels
    self.starts, self.seconds = starts, seconds

  @classmethod
  def of(cls, rows: Iterable[tuple[Row, object]], kind: str) -> 'Rows':
    """Collects rows and their labels.

    Args:
      rows: each with its label: a class id; a number; C times 0 or 1; a tag id
        or `NO_TAG` for each token; or the first and last token of a span.
      kind: which of these.

    Raises:
      UserError: there is none.
    """
    starts, seconds, labels = array('q', [0]), array('i'), []
    with tempfile.TemporaryFile() as ids, tempfile.TemporaryFile() as tags:
      for row, label in rows:
        array('i', row.ids).tofile(ids)
        starts.append(starts[-1] + len(row.ids))
        seconds.append(len(row.ids) if row.second is None else row.second)
        if kind == 'tags':
          array('i', label).tofile(tags)
        else:
          labels.append(label)
      if not seconds:
        raise UserError('expected examples to train on, but there are none')
      if kind == 'tags':
        labels = _map(tags)
      else:
        dtype = np.float32 if kind in ('number', 'labels') else np.int32
        labels = np.asarray(labels, dtype)
      return cls(
        kind, _map(ids), np.asarray(starts), np.asarray(seconds), labels
      )

  def __len__(self) -> int:
    return len(self.seconds)

  def __getitem__(self, index: int) -> Row:
    return Row(
      self.ids[self.starts[index] : self.starts[index + 1]], self.seconds[index]
    )


def _map(file) -> np.ndarray:
  file.flush()
  return np.memmap(file, np.int32, mode='r')


class LabelledBatches:
  """An endless iterator of batches.

  Args:
    rows: see `Rows`.
    batch_size: rows of an update.
    length: the longest row that there can be.
    seed: of the order.
    pack: whether short rows share a row of `length`.
    mesh: rows of a batch are divided over its devices, and what comes is this
      process's part of it; None: one device.
  """

  def __init__(
    self,
    rows: Rows,
    batch_size: int,
    length: int,
    seed: int,
    pack: bool = False,
    mesh: Mesh | None = None,
  ):
    if pack and rows.kind == 'spans':
      raise UserError('windows of a context are not packed; set PACK to False')
    self._rows, self._batch_size, self._length = rows, batch_size, length
    self._seed, self._pack, self._mesh = seed, pack, mesh
    self._done = 0  # batches
    self._order = (None, None)

  def __iter__(self):
    return self

  def __next__(self) -> dict[str, np.ndarray]:
    first = self._done * self._batch_size
    chosen = [self._index(first + i) for i in range(self._batch_size)]
    self._done += 1
    if self._pack:
      places = packing.pack(
        [self._size(i) for i in chosen], lambda _: self._length
      )
      groups = [[chosen[i] for i in group] for group in places]
      # Few shapes: rows in eighths of the batch.
      step = max(1, self._batch_size // 8)
      count = -(-len(groups) // step) * step
      columns = self._length
    else:
      groups, count = [[i] for i in chosen], self._batch_size
      columns = self._columns(max(map(self._size, chosen)))
    if self._mesh is None:
      return make(self._rows, groups, count, columns)
    multiple = partitioning.batch_parts(self._mesh)
    count = -(-count // multiple) * multiple
    return partitioning.own_rows(
      make(self._rows, groups, count, columns), self._mesh
    )

  def position(self) -> dict[str, bytes]:
    """Returns where it stands, for `restore`."""
    return {'batches': str(self._done).encode()}

  def restore(self, position: dict[str, bytes]) -> None:
    """Continues from a position that `position` gave."""
    self._done = int(position['batches'])

  def _index(self, place: int) -> int:
    """The row at a place in the concatenation of all epochs."""
    epoch, place = divmod(place, len(self._rows))
    if self._order[0] != epoch:
      order = np.random.default_rng((self._seed, epoch)).permutation(
        len(self._rows)
      )
      self._order = (epoch, order)
    return int(self._order[1][place])

  def _size(self, index: int) -> int:
    starts = self._rows.starts
    return int(starts[index + 1] - starts[index])

  def _columns(self, longest: int) -> int:
    """Quarters of the length: each shape is compiled once."""
    quarter = -(-self._length // 4)
    return min(self._length, -(-longest // quarter) * quarter)


def make(
  rows: Rows, groups: Sequence[Sequence[int]], count: int, columns: int
) -> dict[str, np.ndarray]:
  """Returns a batch with labels, see `bertjax.batch`, of some rows.

  Args:
    rows: where they are.
    groups: the indices of those that share a row of the batch.
    count: B, see `batching.make`.
    columns: L.
  """
  batch = batching.make(
    [[rows[index] for index in group] for group in groups], count, columns
  )
  del batch['target_positions']
  if rows.kind == 'tags':
    labels = np.zeros((count, columns), np.int32)
    weights = np.zeros((count, columns), np.float32)
  else:
    shape = batch['first_positions'].shape
    labels = np.zeros(shape + rows.labels.shape[1:], rows.labels.dtype)
    weights = np.zeros(shape, np.float32)
  for line, group in enumerate(groups):
    for number, index in enumerate(group):
      if rows.kind == 'tags':
        tags = rows.labels[rows.starts[index] : rows.starts[index + 1]]
        begin = batch['first_positions'][line, number]
        labels[line, begin : begin + len(tags)] = np.maximum(tags, 0)
        weights[line, begin : begin + len(tags)] = tags != NO_TAG
      else:
        labels[line, number] = rows.labels[index]
        weights[line, number] = 1
  return batch | {'labels': labels, 'label_weights': weights}
