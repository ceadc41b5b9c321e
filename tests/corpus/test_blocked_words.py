"""Blocked words."""

import pytest

from bertjax.corpus import blocked_words
from bertjax.errors import UserError

BLOCKED = blocked_words.Blocked(
  [
    'Darn',
    'holy cow',
    'holy smoke',
    "d'oh",
    '坏词',
    'ばか',
    'คำหยาบ',
    '',
    'söt 2',
  ]
)


@pytest.mark.parametrize(
  'text, found',
  (
    ('Oh DARN!', 'darn'),
    ('"darn"', 'darn'),
    ('a holy -- Smoke', 'holy smoke'),
    ('So he said D’oh.', 'd oh'),
    ('这是一个坏词。', '坏词'),
    ('おばかさん', 'ばか'),
    ('นี่คือคำหยาบมาก', 'คำหยาบ'),
    ('den Söt-2', 'söt 2'),
  ),
)
def test_words_are_found_whole_in_any_case(text, found):
  assert BLOCKED.find(text) == found


@pytest.mark.parametrize(
  'text',
  ('darned, undarn', 'holy', 'cow, holy', 'holy cows', '坏的词', '', 'sot 2'),
)
def test_parts_of_words_and_of_phrases_are_not(text):
  assert BLOCKED.find(text) is None


def test_a_word_is_found_in_a_long_text(monkeypatch):
  monkeypatch.setattr('bertjax.corpus.word_hashes._PIECE', 50)
  assert BLOCKED.find('a cat ' * 100 + 'darn') == 'darn'


def test_a_file_has_a_word_a_line(tmp_path):
  path = tmp_path / 'words.txt'
  path.write_text('darn\r\n\nholy cow\n')
  blocked = blocked_words.read(str(path))
  assert blocked.find('holy cow') and blocked.find('darn')
  assert not blocked.find('anything else')


def test_a_file_that_is_missing_or_empty_is_one_line(tmp_path):
  with pytest.raises(UserError, match='set BLOCKED_WORDS'):
    blocked_words.read(str(tmp_path / 'no.txt'))
  (tmp_path / 'empty.txt').write_text('\n--\n')
  with pytest.raises(UserError, match=r'word a line in .*empty\.txt'):
    blocked_words.read(str(tmp_path / 'empty.txt'))
