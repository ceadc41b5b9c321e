"""Whether the tags of a file keep to one scheme, so that scores mean something.

    >>> check = Check('train.txt')
    >>> check.add(['I-PER', 'O', 'I-PER'], line=1)
    >>> check.schemes
    ['IOB1']

Source: the schemes are those of Ramshaw and Marcus 1995 (IOB1), Tjong Kim Sang
and Veenstra 1999 (IOB2), and Ratinov and Roth 2009 (BILOU; BIOES is the same
with other letters).
"""

import re
from collections.abc import Callable, Sequence

from bertjax.errors import UserError

_CHUNK = re.compile('[BILUES]-.')


class Check:
  """Which schemes all tags fit that were added.

  Attributes:
    path: of the file, for messages.
    schemes: their names.
  """

  def __init__(self, path: str):
    self.path = path
    self.schemes = list(_SCHEMES)

  def add(self, tags: Sequence[str], line: int) -> None:
    """Adds a sentence.

    Args:
      tags: of its words.
      line: of its first word.

    Raises:
      UserError: no scheme is left.
    """
    pairs = list(zip(['O', *tags], [*tags, 'O'], strict=True))
    broken = {}  # scheme -> where
    for scheme in self.schemes:
      fits = _SCHEMES[scheme]
      for i, (before, tag) in enumerate(pairs):
        if not fits(before, tag):
          broken[scheme] = i
          break
    if len(broken) == len(self.schemes):
      scheme = max(broken, key=broken.__getitem__)
      before, tag = pairs[broken[scheme]]
      tag = 'the end' if broken[scheme] == len(tags) else tag
      raise UserError(
        f'expected tags of one scheme ({", ".join(_SCHEMES)}), got {tag} after '
        f'{before} in line {line + broken[scheme]} of {self.path}, not '
        f'{scheme} as before it; correct it or set TAG_COLUMN'
      )
    self.schemes = [x for x in self.schemes if x not in broken]


def _prefix(tag: str) -> str:
  """Returns the B of 'B' and of 'B-PER', and '' of 'BANK'."""
  return tag[:1] if tag[1:2] in ('', '-') else ''


def _is_plain(before: str, tag: str) -> bool:
  return not _CHUNK.match(tag)


def _goes_on(before: str, tag: str) -> bool:
  """Whether a chunk of the same type stands before."""
  return _prefix(before) in ('B', 'I') and before[1:] == tag[1:]


def _is_iob1(before: str, tag: str) -> bool:
  # B only where a chunk of the same type ends.
  prefix = _prefix(tag)
  return prefix in ('O', 'I') or (prefix == 'B' and _goes_on(before, tag))


def _is_iob2(before: str, tag: str) -> bool:
  prefix = _prefix(tag)
  return prefix in ('O', 'B') or (prefix == 'I' and _goes_on(before, tag))


def _closed(last: str, single: str) -> Callable[[str, str], bool]:
  def fits(before: str, tag: str) -> bool:
    if _prefix(before) in ('B', 'I'):
      return _prefix(tag) in ('I', last) and _goes_on(before, tag)
    return _prefix(tag) in ('O', 'B', single)

  return fits


# Name -> whether a tag may follow another, or O at the start; O also stands at
# the end.
_SCHEMES: dict[str, Callable[[str, str], bool]] = {
  'plain': _is_plain,
  'IOB1': _is_iob1,
  'IOB2': _is_iob2,
  'BILOU': _closed('L', 'U'),
  'BIOES': _closed('E', 'S'),
}
