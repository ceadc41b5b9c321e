"""Rows of any lengths as batches of few shapes, and results in their order.

    rows = [batching.Row([2, 7, 3]), batching.Row([2, 9, 3, 8, 3], second=3)]
    for result in batching.run(function, rows, length=128, batch_size=32):
      result  # what the function gives for each row, in their order

Rows are sorted by length within a window, and padded to the nearest of a few
lengths: a short row costs little, and each shape is compiled once. A window is
all that is held in memory. Source: ours.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

CHUNK = 512  # texts that are tokenized together
# Steps of at most a third, so that at most a quarter of a row is padding.
LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
WINDOW = 64  # batches


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


def run(
    function: Callable[[dict[str, np.ndarray]], Any],
    rows: Iterable[Row],
    length: int,
    batch_size: int,
    multiple: int = 1,
) -> Iterator[Any]:
  """Yields `function`'s results for each row, in the order of the rows.

  Args:
    function: of a batch, see `make`; gives arrays [B, ...]. What it gives for
      rows of padding is left out.
    rows: of 1 to `length` tokens.
    length: the longest row there can be.
    batch_size: the most rows of a batch.
    multiple: every batch has a multiple of this many rows, see `make`.

  Yields:
    what `function` gives for a row, as numpy arrays.
  """
  rows = iter(rows)
  while window := list(itertools.islice(rows, WINDOW * batch_size)):
    order = sorted(range(len(window)), key=lambda i: len(window[i].ids))
    results = [None] * len(window)
    # One batch ahead: the host makes it while the device computes.
    waiting = None
    for start in range(0, len(order), batch_size):
      chosen = order[start : start + batch_size]
      batch = make([window[i] for i in chosen], length, batch_size, multiple)
      if waiting:
        _keep(results, *waiting)
      waiting = chosen, function(batch)
    _keep(results, *waiting)
    yield from results


def make(
    rows: Sequence[Row], length: int, batch_size: int, multiple: int = 1
) -> dict[str, np.ndarray]:
  """Returns a batch of the rows, padded to one of few shapes.

  Ids [[2, 7, 3], [2, 3]] to tokens [[2, 7, 3, 0, ...], [2, 3, 0, 0, ...]], as
  int32[B, L], with `types`, `positions`, `segments`, `first_positions` (all 0)
  of `bertjax.batch`, and `target_positions`: int32[B, 1].

  Args:
    rows: 1 to batch_size of them.
    length: the longest row there can be.
    batch_size: a multiple of `multiple`.
    multiple: of rows in the batch: the devices that they are divided among.
  """
  longest = max(len(row.ids) for row in rows)
  columns = min(
      next((size for size in LENGTHS if size >= longest), length), length)
  # Powers of two below batch_size, for the one text of a program in a loop.
  parts = -(-len(rows) // multiple)
  count = min(batch_size, multiple << (parts - 1).bit_length())
  tokens, types, segments = np.zeros((3, count, columns), np.int32)
  targets = np.zeros((count, 1), np.int32)
  for i, row in enumerate(rows):
    tokens[i, : len(row.ids)] = row.ids
    segments[i, : len(row.ids)] = 1
    if row.second is not None:
      types[i, row.second : len(row.ids)] = 1
    targets[i] = row.position
  return {
      'tokens': tokens,
      'types': types,
      'positions': np.tile(np.arange(columns, dtype=np.int32), (count, 1)),
      'segments': segments,
      'first_positions': np.zeros((count, 1), np.int32),
      'target_positions': targets,
  }


def chunks(items: Iterable) -> Iterator[list]:
  """Yields lists of at most `CHUNK`, which are tokenized together."""
  items = iter(items)
  while some := list(itertools.islice(items, CHUNK)):
    yield some


def _keep(results: list, chosen: Sequence[int], found) -> None:
  found = jax.device_get(found)
  for place, i in enumerate(chosen):
    results[i] = jax.tree.map(lambda array: array[place], found)  # noqa: B023
