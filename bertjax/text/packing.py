"""Assigns sequences to rows that they share.

    >>> pack([3, 6, 4, 2], lambda size: 8)  # which sequences share a row
    [[1, 3], [2, 0]]

`batching.join` makes a batch of such groups. Both are pure functions. In a
packed row each sequence has a number in `segments`, positions from 0, and
attends to itself alone, so the model computes the same as for a row of its own.
Source: Krell et al. 2021 (arXiv:2107.02027).
"""

from collections.abc import Callable, Sequence


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
  most = capacity(max(sizes, default=0))
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
    if found:
      room, place = found
      group = with_room[room].pop(place)
    else:
      room, group = capacity(size), []
      groups.append(group)
    group.append(index)
    with_room[room - size].append(group)
  return groups
