"""Batches rows of any lengths into a few shapes; results keep their order.

    >>> rows = [Row([2, 7, 3]), Row([2, 9, 3, 8, 3], second=3)]
    >>> doubled = apply(lambda batch: 2 * batch['tokens'], rows, length=128,
    ...                 batch_size=32, of_positions=True)
    >>> [result.tolist() for _, result in doubled]
    [[4, 14, 6], [4, 18, 6, 16, 6]]

Short rows are packed together (`bertjax.text.packing`) and each packed row is
padded to the nearest of a few lengths, so hardly anything is computed for
padding and each shape is compiled once.
"""

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bertjax.batch import KEYS, Key
from bertjax.text import packing

# Each is at most half as long again, so at most a third of a row is padding.
LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# Length of a packed row of short ones. At 64, sentences of SST-2 leave 1% of
# padding; in longer rows attention costs more.
SHARED = 64
WINDOW = 64  # times batch_size: rows that are held and batched together
# Keys that say where a sequence lies.
_MADE = ('positions', 'segments', 'first_positions')


class Row(NamedTuple):
  """A sequence to predict on.

  Attributes:
    ids: token ids, special tokens included.
    second: where sentence B (type 1) begins; None: there is none.
    position: where a token is predicted, for functions that predict one.
    source: what the row was made of, for whoever reads its result.
  """

  ids: Sequence[int] | np.ndarray
  second: int | None = None
  position: int = 0
  source: Any = None


def apply(
  function: Callable[[dict[str, np.ndarray]], Any],
  rows: Iterable[Row],
  length: int,
  batch_size: int,
  multiple: int = 1,
  of_positions: bool = False,
) -> Iterator[tuple[Row, Any]]:
  """Yields each row with the result of `function`, in the order of the rows.

  Args:
    function: maps a batch, see `make`, to a tree of arrays.
    rows: of at most `length` tokens each; without tokens the result is None.
    length: the longest row that is allowed.
    batch_size: the most rows of a batch, each of which holds one or more of
      `rows`; a multiple of `multiple`.
    multiple: the number of devices that share a batch; every batch has a
      multiple of this many rows.
    of_positions: whether the arrays are [B, L, ...], one entry a position,
      rather than [B, S, ...], one entry a sequence.

  Yields:
    the row, and its part of the result as numpy arrays: [its length, ...] or
    [...].
  """
  # Takes 1.5 s, which processes that only tokenize do not spend.
  import jax

  rows = iter(rows)
  while window := list(itertools.islice(rows, WINDOW * batch_size)):
    results: list[Any] = [None] * len(window)
    computed = (
      (groups, function(batch))
      for groups, batch in _batches(window, length, batch_size, multiple)
    )
    # In pairs: the device computes while the host makes the next batch.
    ahead = itertools.pairwise(itertools.chain(computed, [([], None)]))
    for (groups, found), _ in ahead:
      found = jax.device_get(found)
      for line, group in enumerate(groups):
        begin = 0
        for number, i in enumerate(group):
          end = begin + len(window[i].ids)
          place = slice(begin, end) if of_positions else number
          results[i] = jax.tree.map(operator.itemgetter((line, place)), found)
          begin = end
    yield from zip(window, results, strict=True)


def make(
  groups: Sequence[Sequence[Row]], count: int, columns: int
) -> dict[str, np.ndarray]:
  """Packs each group of rows into one row of a batch.

      >>> group = [Row([2, 7, 3]), Row([2, 3])]
      >>> make([group], count=1, columns=8)['tokens'].tolist()
      [[2, 7, 3, 2, 3, 0, 0, 0]]

  Args:
    groups: at most `count`, of at most `columns` tokens each.
    count: B; rows without a group stay empty.
    columns: L.

  Returns:
    `tokens`, `types`, `positions`, `segments`: int32[B, L],
    `first_positions`: int32[B, S], see `bertjax.batch`, and
    `target_positions`: int32[B, S], `Row.position` of each sequence, counted
    from the start of the packed row. S is a power of two.
  """
  sequences = 1 << (max(map(len, groups)) - 1).bit_length()
  return join(
    [
      [{**entries(row), 'target_positions': [row.position]} for row in group]
      for group in groups
    ],
    count,
    {'L': columns, 'P': sequences, 'S': sequences},
  )


def entries(row: Row) -> dict[str, Sequence[int] | np.ndarray]:
  """Returns the `tokens` and `types` of a row, see `join`."""
  types = np.zeros(len(row.ids), np.int32)
  if row.second is not None:
    types[row.second :] = 1
  return {'tokens': row.ids, 'types': types}


def join(
  groups: Sequence[Sequence[Mapping[str, Any]]],
  count: int,
  sizes: Mapping[str, int],
  more: Mapping[str, Key] | None = None,
) -> dict[str, np.ndarray]:
  """Returns a batch in which the sequences of a group share a row.

      >>> group = [{'tokens': [2, 7, 3]}, {'tokens': [2, 3]}]
      >>> batch = join([group], count=1, sizes={'L': 6, 'S': 2})
      >>> batch['tokens'].tolist(), batch['segments'].tolist()
      ([[2, 7, 3, 2, 3, 0]], [[1, 1, 1, 2, 2, 0]])
      >>> batch['positions'].tolist(), batch['first_positions'].tolist()
      ([[0, 1, 2, 0, 1, 0]], [[0, 3]])

  Args:
    groups: at most `count`. A sequence has its own entries, without padding, of
      the same keys as every other one; `target_positions` count from its start.
    count: B; rows without a group stay empty.
    sizes: L, S and, if there are targets, P.
    more: describes those keys that `bertjax.batch.KEYS` does not have.

  Returns:
    these keys, and `positions`, `segments` and `first_positions`.

  Raises:
    ValueError: a group does not fit into a row.
  """
  table = KEYS | dict(more or {})
  batch: dict[str, np.ndarray] = {}
  columns_L = np.arange(sizes['L'], dtype=np.int32)
  for key, value in {**dict.fromkeys(_MADE, [0]), **groups[0][0]}.items():
    dimensions, dtype = table[key]
    shape = (count, sizes[dimensions[1]], *np.shape(value)[1:])
    batch[key] = np.zeros(shape, dtype)
  for line, group in enumerate(groups):
    begin = dict.fromkeys(sizes, 0)
    for number, sequence in enumerate(group, start=1):
      end = {**begin, 'S': number}
      for key, value in sequence.items():
        letter = table[key][0][1]
        end[letter] = begin[letter] + len(value)
        batch[key][line, begin[letter] : end[letter]] = value
      first, past = begin['L'], end['L']
      if 'target_positions' in sequence:
        batch['target_positions'][line, begin['P'] : end['P']] += first
      batch['first_positions'][line, number - 1 : number] = first
      batch['positions'][line, first:past] = columns_L[: past - first]
      batch['segments'][line, first:past] = number
      begin = end
    if any(begin[letter] > size for letter, size in sizes.items()):
      raise ValueError(f'{len(group)} sequences do not fit into {sizes}')
  return batch


def _batches(
  rows: Sequence[Row], length: int, batch_size: int, multiple: int
) -> Iterator[tuple[list[list[int]], dict[str, np.ndarray]]]:
  """Yields batches, each with the rows that share a row of it."""
  sizes = {i: len(row.ids) for i, row in enumerate(rows) if len(row.ids)}
  numbers, shared = list(sizes), min(SHARED, sum(sizes.values()))

  def capacity(size: int) -> int:
    needed = max(size, shared)
    return next((n for n in LENGTHS if needed <= n < length), length)

  # A group begins with its longest row, so groups of one capacity are adjacent.
  packed = packing.pack([*sizes.values()], capacity)
  indices = [[numbers[i] for i in group] for group in packed]
  for columns, same_length in itertools.groupby(
    indices, key=lambda group: capacity(sizes[group[0]])
  ):
    while groups := list(itertools.islice(same_length, batch_size)):
      # Powers of two below batch_size, for callers that have one text a time.
      parts = -(-len(groups) // multiple)
      count = min(batch_size, multiple << (parts - 1).bit_length())
      some = [[rows[i] for i in group] for group in groups]
      yield groups, make(some, count, columns)
