"""Finds words that a user does not want in a text.

    >>> blocked = Blocked(['darn', 'Holy cow', '坏词'])
    >>> blocked.find('Well, HOLY -- cow!'), blocked.find('Darned cows')
    ('holy cow', None)
    >>> blocked.find('这是一个坏词。')
    '坏词'

Words are compared as in `word_hashes`: whole, whatever their case and what
stands between them. A list as C4 has it (LDNOOBW, 'List of Dirty, Naughty,
Obscene, and Otherwise Bad Words') holds a word or phrase a line.
"""

import re
from collections.abc import Iterable

from bertjax.corpus import word_hashes
from bertjax.errors import UserError, expect
from bertjax.text import input_files

# Scripts without spaces, whose words are longer than a character, so that only
# a dictionary could find where one ends: Thai, Lao, Burmese, Khmer. Their words
# are found anywhere, as C4 does for Thai, Chinese and Japanese (c4_utils.py,
# `badwords_filter`).
_WITHOUT_SPACES = re.compile('[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]')


class Blocked:
  """A list of words and phrases."""

  def __init__(self, words: Iterable[str]):
    """Takes the words; blank ones are left out.

    Raises:
      UserError: there is no word.
    """
    self._whole: dict[str, list[list[str]]] = {}  # first word -> phrases
    anywhere = []
    for word in words:
      if not (phrase := word_hashes.split(word)):
        continue
      if _WITHOUT_SPACES.search(word):
        anywhere.append(' '.join(phrase))
      else:
        self._whole.setdefault(phrase[0], []).append(phrase)
    got = [*self._whole, *anywhere]
    expect(got, 'words with letters or digits', got, 'BLOCKED_WORDS')
    self._anywhere = re.compile('|'.join(map(re.escape, anywhere)) or r'(?!)')

  def find(self, text: str) -> str | None:
    """Returns a word of the list that occurs, case folded; None: none does."""
    for piece in word_hashes.pieces(text):
      words = word_hashes.split(piece)
      if not self._whole.keys().isdisjoint(words):
        for place, word in enumerate(words):
          for phrase in self._whole.get(word, ()):
            if words[place : place + len(phrase)] == phrase:
              return _joined(phrase)
      if found := self._anywhere.search(' '.join(words)):
        return found.group()
    return None


def read(path: str, setting: str = 'BLOCKED_WORDS') -> Blocked:
  """Reads a file with a word or phrase a line.

  Raises:
    UserError: it cannot be read, or has no word.
  """
  form = input_files.form_of(path, setting)
  expect(form == 'text', 'a text file, a word a line', path, setting)
  words = [*input_files.lines(path, setting)]
  if not any(map(word_hashes.split, words)):
    raise UserError(
      f'expected a word a line in {path}, got none; fill it, or set {setting}'
    )
  return Blocked(words)


def _joined(phrase: list[str]) -> str:
  spaced = any(word.isascii() or len(word) > 1 for word in phrase)
  return (' ' if spaced else '').join(phrase)
