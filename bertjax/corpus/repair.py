r"""Mends what went wrong with the characters of a text, by ftfy.

    >>> repair('It\u00e2\u20ac\u2122s a cafe\u0301 &amp; bar \ufb01ve')
    'It’s a café & bar five'

Mended are mojibake (UTF-8 read as another encoding), entities of HTML in a text
without '<', control characters, line ends, ligatures and surrogates; the text
is then in normal form C, as WordPiece vocabularies are.

Deviation from ftfy's defaults: curly quotes and full-width characters stay. No
encoding broke them; they are how English and Chinese are printed, and published
vocabularies have tokens for both.
"""

import functools
import re
import unicodedata
from collections.abc import Callable

from bertjax.errors import UserError

# All that ftfy changes, with the settings below, in text that is no mojibake
# and in normal form C: entities, control characters (CR and the first of
# terminal escapes among them), ends of lines, surrogates and ligatures.
_MAY_CHANGE = re.compile(
  '[&\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u206a-\u206f\ufeff\ufff9-\ufffc'
  '\ud800-\udfff\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb06]'
)
# The patterns by which ftfy knows mojibake (`ftfy.badness.BADNESS_RE`) have at
# most 7 characters, and of them two neighbours that are not ASCII, or one of
# these four.
_MAY_BE_MOJIBAKE = re.compile('[^\x00-\x7f]{2,}|[ÂÃŒœ]')
_LONGEST_PATTERN = 7
# ftfy takes line by line, with their ends.
_TOGETHER = 1 << 20  # characters, or the lines of a long text fill the memory
_LINE = re.compile('[^\n]*\n|[^\n]+')


def repair(text: str) -> str:
  """Returns the mended text; it may have more lines than before.

  Lines that ftfy would return as they are do not go through it: it takes 0.5
  microseconds for each character, and most text needs none of it.

  Raises:
    UserError: ftfy is not installed.
  """
  if text.isascii() and not _MAY_CHANGE.search(text):
    return text
  # As ftfy's 'auto', but of the document rather than of the lines so far.
  fix, is_bad = _ftfy('<' not in text)
  parts, start = [], 0
  while start < len(text):
    end = text.find('\n', start + _TOGETHER) + 1 or len(text)
    lines = _LINE.findall(text, start, end)
    parts += [''.join(x if _is_fine(x, is_bad) else fix(x) for x in lines)]
    start = end
  return ''.join(parts)


def _is_fine(text: str, is_bad: Callable[[str], bool]) -> bool:
  """Returns whether ftfy would return the text as it is."""
  if _MAY_CHANGE.search(text):
    return False
  if text.isascii():
    return True
  # What surrounds the characters in question, overlaps put together.
  parts, begin, end = [], 0, 0
  for match in _MAY_BE_MOJIBAKE.finditer(text):
    if match.start() - _LONGEST_PATTERN > end:
      parts.append(text[begin:end])
      begin = match.start() - _LONGEST_PATTERN
    end = match.end() + _LONGEST_PATTERN
  parts.append(text[begin:end])
  return not is_bad('\n'.join(parts)) and unicodedata.is_normalized('NFC', text)


def check_installed() -> None:
  """Raises UserError if ftfy is not installed."""
  _ftfy(True)


@functools.cache
def _ftfy(
  entities: bool,
) -> tuple[Callable[[str], str], Callable[[str], bool]]:
  """Returns what mends a text, and what says whether it is mojibake."""
  try:
    import ftfy
    from ftfy import badness
  except ImportError as error:
    raise UserError(
      'expected ftfy, to repair text, but it is not installed; pip install -r '
      'requirements-prepare.txt, or set REPAIR=False'
    ) from error
  settings = ftfy.TextFixerConfig(
    unescape_html=entities,
    fix_character_width=False,
    uncurl_quotes=False,
    explain=False,
  )
  return functools.partial(ftfy.fix_text, config=settings), badness.is_bad
