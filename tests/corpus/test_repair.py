"""Repair of Unicode."""

import random

import ftfy
import pytest
from ftfy.badness import is_bad

from bertjax.corpus import repair

# Characters that some fixer of ftfy or pattern of mojibake looks at.
CHARACTERS = (
  'aeT .,"\'&;<>$0\t\néàüßñœŒÂÃÐØÙàâ€™“”—…°²³£¥©®×\xa0\xad´‚Äìвг的，ﬁĳ'
  '\u0301\x85\x1b\u2028Ａ'
)


def by_ftfy(text):
  """The slow twin: all lines go through ftfy."""
  settings = ftfy.TextFixerConfig(
    unescape_html='<' not in text,
    uncurl_quotes=False,
    fix_character_width=False,
    explain=False,
  )
  return ftfy.fix_text(text, settings)


@pytest.mark.parametrize('length', (3, 10, 60))
@pytest.mark.parametrize('share', (0.1, 0.5, 1))
def test_lines_that_do_not_go_through_ftfy_would_not_change(length, share):
  generator = random.Random(length)
  fine = 0
  for _ in range(2000):
    text = ''.join(
      generator.choice(CHARACTERS if generator.random() < share else 'abc XY')
      for _ in range(length)
    )
    assert repair.repair(text) == by_ftfy(text)
    fine += repair._is_fine(text, is_bad)
  assert fine or share * length > 10


@pytest.mark.parametrize(
  'broken, mended',
  (
    ('It’s a cafÃ© â€“ really', 'It’s a café – really'),
    ('schÃ¶n', 'schön'),
    ('cafe\u0301', 'café'),
    ('Tom &amp; Ann &lt;3', 'Tom & Ann <3'),
    ('\ufb01ve \ufb02ags', 'five flags'),
    ('a\x00b\x07c\ufeffd', 'abcd'),
    ('one\r\ntwo\u2028three', 'one\ntwo\nthree'),
    ('\x1b[31mred\x1b[0m', 'red'),
    ('smile \ud83d\ude00', 'smile 😀'),
    ('plain\nlines', 'plain\nlines'),
    ('', ''),
  ),
)
def test_what_went_wrong_is_mended(broken, mended):
  assert repair.repair(broken) == mended
  assert repair.repair(mended) == mended


@pytest.mark.parametrize(
  'text',
  (
    '“Curly” quotes and a dash — as printed, ‘all’ of them…',
    '全角的标点，和括号（也是）。ＡＢＣ',
    'if (a < b && c) { x &lt; y }',
    'El Niño, größer, français, Ærø, œuvre',
    'x² + y³ ≤ 10°',
  ),
)
def test_what_is_meant_stays(text):
  assert repair.repair(text) == text


def test_a_long_text_is_mended_in_parts_as_in_one(monkeypatch):
  text = 'It\u00e2\u20ac\u2122s fine.\nCaf\u00e9 \ufb01ve\n\n' * 9 + 'end'
  whole = repair.repair(text)
  monkeypatch.setattr(repair, '_TOGETHER', 8)
  assert repair.repair(text) == whole != text
