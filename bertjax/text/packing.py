"""Packs several sequences into one row.

    >>> pack([3, 6, 4, 2], lambda size: 8)  # which sequences share a row
    [[1, 3], [2, 0]]

`join` makes a batch of such groups. Both are pure functions of their arguments.
In a packed row each sequence has a number in `segments`, positions from 0, and
attends to itself alone, so the model computes the same as for a row of its own.
Source: Krell et al. 2021 (arXiv:2107.02027).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bertjax.batch import KEYS, Key

# Keys that say where a sequence lies, and the letter of their second dimension.
_MADE = {'positions': 'L', 'segments': 'L', 'first_positions': 'S'}


def pack(
  sizes: Sequence[int],
  capacity: Callable[[int], int],
  budgets: Sequence[tuple[Sequence[int], int]] = (),
) -> list[list[int]]:
  """Assigns sequences to rows by best fit, the longest first.

  Args:
    sizes: tokens of each sequence.
    capacity: maps the size of a row's first sequence to the tokens that the row
      may hold; no less than the size, and not decreasing.
    budgets: further limits of a row, such as targets: what each sequence needs,
      and the most for a row. A sequence joins a row only if it fits every
      budget. None is cut or left out: the first of a row may exceed them.

  Returns:
    for each row the indices in `sizes` of its sequences, in their order there.

  Source: Johnson 1973; without budgets it takes at most 11/9 of the fewest
  possible rows, plus one.
  """
  most = capacity(max(sizes))
  groups: list[list[int]] = []
  with_room: list[list[list[int]]] = [[] for _ in range(most + 1)]

  def fits(group: list[int], index: int) -> bool:
    return all(
      sum(taken[i] for i in group) + taken[index] <= limit
      for taken, limit in budgets
    )

  for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
    size = sizes[index]
    found = next(
      (
        (room, place)
        for room in range(size, most + 1)
        for place, group in enumerate(with_room[room])
        if fits(group, index)
      ),
      None,
    )
    if found is None:
      room = capacity(size)
      group: list[int] = []
      groups.append(group)
    else:
      room, place = found
      group = with_room[room].pop(place)
    group.append(index)
    with_room[room - size].append(group)
  return groups


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
  batch: dict[str, np.ndarray] = {
    key: np.zeros((count, sizes[letter]), np.int32)
    for key, letter in _MADE.items()
  }
  for key, value in groups[0][0].items():
    dimensions, dtype = table[key]
    shape = (count, sizes[dimensions[1]], *np.shape(value)[1:])
    batch[key] = np.zeros(shape, dtype)
  for line, group in enumerate(groups):
    begin = dict.fromkeys(sizes, 0)
    for number, sequence in enumerate(group):
      end = {**begin, 'S': number + 1}
      for key, value in sequence.items():
        letter = table[key][0][1]
        end[letter] = begin[letter] + len(value)
        batch[key][line, begin[letter] : end[letter]] = value
      first = begin['L']
      if 'target_positions' in sequence:
        batch['target_positions'][line, begin['P'] : end['P']] += first
      batch['segments'][line, first : end['L']] = number + 1
      if number < sizes['S']:
        batch['first_positions'][line, number] = first
      begin = end
    if any(begin[letter] > size for letter, size in sizes.items()):
      raise ValueError(f'{len(group)} sequences do not fit into {sizes}')
  segments_BL = batch['segments']
  first_BL = np.take_along_axis(
    batch['first_positions'], np.maximum(segments_BL - 1, 0), axis=1
  )
  columns_L = np.arange(sizes['L'], dtype=np.int32)
  batch['positions'] = np.where(segments_BL > 0, columns_L - first_BL, 0)
  return batch
