"""Tells the language of a text, by py3langid.

    >>> language_of('Der Ausschuss tagt am Dienstag wieder.')[0]
    'de'

py3langid 0.4 (BSD) has its model of 140 languages in its package of 5 MB.
Of a sentence in each of 28 languages it knows all, and 95% of their pieces of
five words; lingua 2.1 (Apache-2.0) all, and 100%. But lingua takes 96 MB of
disk, 900 MB of memory and 11 s to load, where py3langid takes 0.8 s and 120 MB,
and seven times as long for a text.
"""

import functools
from collections.abc import Iterable
from typing import Any

from bertjax.errors import UserError, choose

# A text is judged by so many parts of so many characters, at equal distances:
# py3langid takes a microsecond for each byte, and is sure long before the end.
_PARTS, _PART = 4, 128


def language_of(text: str) -> tuple[str, float]:
  """Returns the code of the likeliest language, and its probability.

  The code is ISO 639-1, or 639-3 for a language that has no shorter one; 'und'
  (undetermined, in ISO 639) with probability 0 is a text without letters.

  Raises:
    UserError: py3langid is not installed.
  """
  sample = _sample(text)
  if not any(map(str.isalpha, sample)):
    return 'und', 0.0
  return _identifier().classify(sample)


def check_codes(codes: Iterable[str], setting: str = 'LANGUAGES') -> None:
  """Refuses codes that `language_of` never returns.

  Raises:
    UserError: with the nearest code; or py3langid is not installed.
  """
  known = dict.fromkeys(_identifier().labels)
  for code in codes:
    choose(known, code, setting)


def _sample(text: str) -> str:
  if len(text) <= _PARTS * _PART:
    return text
  step = (len(text) - _PART) // (_PARTS - 1)
  return '\n'.join(
    text[begin : begin + _PART] for begin in range(0, _PARTS * step, step)
  )


@functools.cache
def _identifier() -> Any:
  try:
    from py3langid import langid
  except ImportError as error:
    raise UserError(
      'expected py3langid, to tell languages, but it is not installed; pip '
      'install -r requirements-prepare.txt, or set LANGUAGES=None'
    ) from error
  return langid.LanguageIdentifier.from_model_file(
    langid.MODEL_FILE, norm_probs=True
  )
