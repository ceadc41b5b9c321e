"""What two runs or models differ in, in words, for error messages.

>>> between({'kernel': '[2, 3]'}, {'kernel': '[2, 4]', 'bias': '[4]'})
['bias is absent there and [4] here', 'kernel is [2, 3] there and [2, 4] here']
>>> listed(['a', 'b', 'c', 'd'])
'a, b, c (and 1 more)'
"""

from collections.abc import Mapping, Sequence


def between(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
  """Compares what each name stands for there and here."""
  return [
    f'{name} is {there} there and {here} here'
    for name in sorted({*theirs, *ours})
    if (there := theirs.get(name, 'absent'))
    != (here := ours.get(name, 'absent'))
  ]


def listed(differences: Sequence[str]) -> str:
  """Returns the first three, and how many there are more."""
  more = f' (and {len(differences) - 3} more)' if differences[3:] else ''
  return ', '.join(differences[:3]) + more
