import pytest

from bertjax.corpus import word_groups
from bertjax.errors import UserError


def read(tmp_path, text):
  path = tmp_path / 'groups'
  path.write_text(text)
  return word_groups.read(str(path))


def test_lines_and_json_say_the_same(tmp_path):
  wanted = {'kin': ['mother', 'step father'], 'colours': ['red']}
  lines = '# mine\n\nkin: mother , step father,\ncolours:red\n'
  assert read(tmp_path, lines) == wanted
  text = '{"kin": ["mother", "step father"], "colours": "red"}'
  assert read(tmp_path, text) == wanted
  assert word_groups.read(None) == word_groups.DEFAULT


@pytest.mark.parametrize(
  'text, message',
  [
    ('she her', 'got she her; set GROUPS'),
    (': she', '"group: word, word" in .*:1, got : she'),
    ('kin:', "expected words of 'kin'"),
    ('{"kin": []}', "expected words of 'kin'"),
    ('{"kin": 5}', 'a list of words for each group'),
    ('{"kin"', 'groups'),
    ('', 'got none; set GROUPS'),
  ],
)
def test_what_is_no_list_of_words_is_one_line(tmp_path, text, message):
  with pytest.raises(UserError, match=message) as caught:
    read(tmp_path, text)
  assert '\n' not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(UserError, match='got .*nowhere; set GROUPS'):
    word_groups.read(str(tmp_path / 'nowhere'))
