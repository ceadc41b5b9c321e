"""Rows of any lengths as batches of few shapes, and results in their order.

    rows = [batching.Row([2, 7, 3]), batching.Row([2, 9, 3, 8, 3], second=3)]
    for result in batching.apply(function, rows, length=128, batch_size=32):
      result  # what the function gives for each row, in their order

Short rows share a row of the batch, where each attends to itself alone, and it
is padded to the nearest of a few lengths: next to nothing is computed for
padding, and each shape is compiled once. See `bertjax.text.packing`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bertjax.text import packing

CHUNK = 512  # texts that are tokenized together
# Steps of at most a third, so that at most a quarter of a row is padding.
LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# Tokens that short rows share. In longer ones attention costs more, and 1% of
# the sentences of SST-2 in 64 is padding.
SHARED = 64
WINDOW = 64  # times batch_size: rows that are held and divided together


class Row(NamedTuple):
  """A sequence to predict on.

  Attributes:
    ids: of its tokens, special ones included.
    second: where sentence B, of type 1, begins; None: there is none.
    position: where something is predicted, for functions that do so.
  """

  ids: Sequence[int]
  second: int | None = None
  position: int = 0


def apply(
  function: Callable[[dict[str, np.ndarray]], Any],
  rows: Iterable[Row],
  length: int,
  batch_size: int,
  multiple: int = 1,
  of_positions: bool = False,
) -> Iterator[Any]:
  """Yields `function`'s results for each row, in the order of the rows.

  Args:
    function: of a batch, see `make`; gives arrays.
    rows: of 1 to `length` tokens.
    length: the longest row there can be.
    batch_size: the most rows of a batch, each of one or more of `rows`.
    multiple: every batch has a multiple of this many rows: the devices that
      they are divided among. batch_size is one.
    of_positions: whether the arrays are [B, L, ...], of each position, rather
      than [B, S, ...], of each sequence.

  Yields:
    what `function` gives for a row, as numpy arrays: of its positions, or of
    its sequence.
  """
  rows = iter(rows)
  while window := list(itertools.islice(rows, WINDOW * batch_size)):
    results = [None] * len(window)
    # One batch ahead: the host makes it while the device computes.
    waiting = None
    for groups, columns in _divide(window, length, batch_size):
      # Powers of two below batch_size, for the one text of a program in a loop.
      parts = -(-len(groups) // multiple)
      count = min(batch_size, multiple << (parts - 1).bit_length())
      batch = make(
        [[window[i] for i in group] for group in groups], count, columns
      )
      if waiting:
        _keep(results, *waiting, of_positions)
      waiting = groups, window, function(batch)
    _keep(results, *waiting, of_positions)
    yield from results


def make(
  groups: Sequence[Sequence[Row]], count: int, columns: int
) -> dict[str, np.ndarray]:
  """Returns a batch of rows, those of a group packed into one row of it.

  One group of ids [2, 7, 3] and [2, 3] to tokens [[2, 7, 3, 2, 3, 0, ...]].

  Args:
    groups: at most `count`, of at most `columns` tokens each.
    count: B; what has no group is empty.
    columns: L.

  Returns:
    `tokens`, `types`, `positions`, `segments`: int32[B, L] and
    `first_positions`: int32[B, S] of `bertjax.batch`, and `target_positions`:
    int32[B, S], where `Row.position` is in the row. S is a power of two.
  """
  sequences = 1 << (max(map(len, groups)) - 1).bit_length()
  tokens, types, positions, segments = np.zeros((4, count, columns), np.int32)
  first, targets = np.zeros((2, count, sequences), np.int32)
  for line, group in enumerate(groups):
    begin = 0
    for number, row in enumerate(group):
      end = begin + len(row.ids)
      tokens[line, begin:end] = row.ids
      if row.second is not None:
        types[line, begin + row.second : end] = 1
      positions[line, begin:end] = np.arange(end - begin)
      segments[line, begin:end] = number + 1
      first[line, number] = begin
      targets[line, number] = begin + row.position
      begin = end
  return {
    'tokens': tokens,
    'types': types,
    'positions': positions,
    'segments': segments,
    'first_positions': first,
    'target_positions': targets,
  }


def chunks(items: Iterable) -> Iterator[list]:
  """Yields lists of at most `CHUNK`, which are tokenized together."""
  items = iter(items)
  while some := list(itertools.islice(items, CHUNK)):
    yield some


def _divide(
  rows: Sequence[Row], length: int, batch_size: int
) -> Iterator[tuple[list[list[int]], int]]:
  """Yields the groups of each batch, and the length of its rows."""
  sizes = [len(row.ids) for row in rows]
  shared = min(SHARED, sum(sizes))

  def capacity(size):
    needed = max(size, shared)
    return min(next((n for n in LENGTHS if n >= needed), length), length)

  # Groups begin with their longest, so those of one capacity are neighbours.
  for columns, groups in itertools.groupby(
    packing.pack(sizes, capacity), key=lambda group: capacity(sizes[group[0]])
  ):
    groups = list(groups)
    for start in range(0, len(groups), batch_size):
      yield groups[start : start + batch_size], columns


def _keep(
  results: list,
  groups: Sequence[Sequence[int]],
  rows: Sequence[Row],
  found,
  of_positions: bool,
) -> None:
  """Puts what was found for the sequences of a batch at their places."""
  found = jax.device_get(found)
  for line, group in enumerate(groups):
    begin = 0
    for number, i in enumerate(group):
      end = begin + len(rows[i].ids)
      place = slice(begin, end) if of_positions else number
      results[i] = jax.tree.map(lambda x: x[line, place], found)  # noqa: B023
      begin = end
