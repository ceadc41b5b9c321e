"""Several sequences in one row: which share it, and the row that they make.

    groups = packing.pack(sizes, lambda size: 512, [(targets, 77)])
    packed = packing.join(examples, groups, sequences=32)

Pure functions of their arguments. In a packed row each sequence has a number in
`segments`, positions from 0, and attends to itself alone, so that it gives what
it gives in a row of its own. Source: ours; packing, Krell et al. 2021
(arXiv:2107.02027).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bertjax.batch import PRETRAINING


def pack(
  sizes: Sequence[int],
  capacity: Callable[[int], int],
  budgets: Sequence[tuple[Sequence[int], int]] = (),
) -> list[list[int]]:
  """Divides sequences among rows: best fit, the longest first.

  Sizes [3, 6, 4, 2] in rows of 8 give [[1, 3], [2, 0]].

  Args:
    sizes: in tokens.
    capacity: of a row that a sequence of this size begins; no less than the
      size, and no less for a larger one.
    budgets: what else a row has a limit of: what each sequence takes, and the
      most for a row. A sequence joins a row only where it fits every budget;
      none is cut or left out, and one begins a row whatever it takes.

  Returns:
    the places in `sizes` that share a row, in the order in which they stand.

  Source: Johnson 1973; without budgets at most 11/9 of the fewest rows, plus
  one.
  """
  most = capacity(max(sizes))
  groups, with_room = [], [[] for _ in range(most + 1)]

  def fits(group, index):
    return all(
      sum(taken[i] for i in group) + taken[index] <= limit
      for taken, limit in budgets
    )

  for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
    size = sizes[index]
    room, place = next(
      (
        (room, place)
        for room in range(size, most + 1)
        for place, group in enumerate(with_room[room])
        if fits(group, index)
      ),
      (None, None),
    )
    if room is None:
      room, group = capacity(size), []
      groups.append(group)
    else:
      group = with_room[room].pop(place)
    group.append(index)
    with_room[room - size].append(group)
  return groups


def join(
  examples: Mapping[str, np.ndarray],
  groups: Sequence[Sequence[int]],
  sequences: int,
) -> dict[str, np.ndarray]:
  """Returns a pretraining batch in which those of a group share a row.

  Tokens [[2, 7, 3, 0, 0], [2, 3, 0, 0, 0]] and groups [[1, 0]] give tokens
  [[2, 3, 2, 7, 3]], segments [[1, 1, 2, 2, 2]], positions [[0, 1, 0, 1, 2]]
  and first_positions [[0, 2]].

  Args:
    examples: every key of `bertjax.batch`, one sequence a row (S = 1), padding
      at the end.
    groups: rows of `examples`, each in one group; no more than S in one, and
      in sum no more than L tokens and P targets.
    sequences: S of the result.

  Returns:
    the same keys and dtypes, a row for each group; L and P are the same.

  Raises:
    ValueError: a group does not fit into a row.
  """
  if max(map(len, groups)) > sequences:
    raise ValueError(f'more than {sequences} sequences in a group')
  sizes = {  # by the dimension's letter: what is not padding
    'L': (examples['segments'] > 0).sum(1).tolist(),
    'P': (examples['weights'] > 0).sum(1).tolist(),
    'S': [1] * len(examples['segments']),
  }
  packed = {
    key: np.zeros(
      (len(groups), sequences if letter == 'S' else examples[key].shape[1]),
      dtype,
    )
    for key, ((_, letter), dtype) in PRETRAINING.items()
  }
  for row, group in enumerate(groups):
    begin = dict.fromkeys(sizes, 0)
    for number, index in enumerate(group):
      place = {
        letter: slice(begin[letter], begin[letter] + size[index])
        for letter, size in sizes.items()
      }
      for key, ((_, letter), _) in PRETRAINING.items():
        packed[key][row, place[letter]] = examples[key][
          index, : sizes[letter][index]
        ]
      packed['segments'][row, place['L']] = number + 1
      for key, letter in (('target_positions', 'P'), ('first_positions', 'S')):
        packed[key][row, place[letter]] += begin['L']
      begin = {letter: place[letter].stop for letter in place}
  return packed
