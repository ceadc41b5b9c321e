"""Packs several sequences into one row.

    >>> pack([3, 6, 4, 2], lambda size: 8)  # which sequences share a row
    [[1, 3], [2, 0]]

`join` makes a batch of such groups. Both are pure functions of their arguments.
In a packed row each sequence has a number in `segments`, positions from 0, and
attends to itself alone, so the model computes the same as for a row of its own.
Source: Krell et al. 2021 (arXiv:2107.02027).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bertjax.batch import KEYS


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
  examples: Mapping[str, np.ndarray],
  groups: Sequence[Sequence[int]],
  sequences: int,
) -> dict[str, np.ndarray]:
  """Returns a pretraining batch in which the sequences of a group share a row.

  Tokens [[2, 7, 3, 0, 0], [2, 3, 0, 0, 0]] and groups [[1, 0]] give tokens
  [[2, 3, 2, 7, 3]], segments [[1, 1, 2, 2, 2]], positions [[0, 1, 0, 1, 2]]
  and first_positions [[0, 2]].

  Args:
    examples: keys of `bertjax.batch`, one sequence a row (S = 1), padding
      at the end.
    groups: rows of `examples`, each in one group; a group has at most S rows,
      L tokens and P targets.
    sequences: S of the result.

  Returns:
    the same keys and dtypes, with a row for each group; L and P are the same.

  Raises:
    ValueError: a group does not fit into a row.
  """
  if max(map(len, groups)) > sequences:
    raise ValueError(f'more than {sequences} sequences in a group')
  sizes = {  # without padding, by the dimension's letter
    'L': (examples['segments'] > 0).sum(1).tolist(),
    'P': (examples['weights'] > 0).sum(1).tolist(),
    'S': [1] * len(examples['segments']),
  }
  letters = {key: KEYS[key][0][1] for key in examples}
  packed: dict[str, np.ndarray] = {
    key: np.zeros(
      (len(groups), sequences if letter == 'S' else examples[key].shape[1]),
      KEYS[key][1],
    )
    for key, letter in letters.items()
  }
  for row, group in enumerate(groups):
    begin = dict.fromkeys(sizes, 0)
    for number, index in enumerate(group):
      place = {
        letter: slice(begin[letter], begin[letter] + size[index])
        for letter, size in sizes.items()
      }
      for key, letter in letters.items():
        packed[key][row, place[letter]] = examples[key][
          index, : sizes[letter][index]
        ]
      packed['segments'][row, place['L']] = number + 1
      for key, letter in (('target_positions', 'P'), ('first_positions', 'S')):
        packed[key][row, place[letter]] += begin['L']
      begin = {letter: place[letter].stop for letter in place}
  return packed
