import json

import pytest

from bertjax import vocabulary_file
from bertjax.errors import UserError
from bertjax.vocabulary_file import SPECIAL_TOKENS


def test_a_written_vocabulary_is_read_back(tmp_path):
  path = str(tmp_path / 'vocab.txt')
  vocabulary_file.write([*SPECIAL_TOKENS, 'é', '\u2028'], path, cased=False)
  with open(path, 'rb') as file:
    assert file.read().endswith('[MASK]\né\n\u2028\n'.encode())
  assert vocabulary_file.read(path) == [*SPECIAL_TOKENS, 'é', '\u2028']


def test_windows_line_ends_are_read(tmp_path):
  path = tmp_path / 'vocab.txt'
  path.write_bytes('\ufeff'.encode() + b'\r\n'.join(
      [*map(str.encode, SPECIAL_TOKENS), b'a', b'', b'']))
  assert vocabulary_file.read(str(path)) == [*SPECIAL_TOKENS, 'a']


@pytest.mark.parametrize('content, message', [
    (None, 'no file'), (b'\xff', 'UTF-8'), (b'', r'lacks \[PAD\]'),
    (b'[PAD]\n[UNK]\n[CLS]\n[SEP]\n', r'lacks \[MASK\]'),
    (b'[PAD]\n[UNK]\na\na\n', 'lines 3 and 4')])
def test_a_bad_vocabulary_is_refused_in_one_line(tmp_path, content, message):
  path = tmp_path / 'vocab.txt'
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(UserError, match=message) as caught:
    vocabulary_file.read(str(path))
  assert str(path) in str(caught.value) and 'VOCAB_FILE' in str(caught.value)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name, content, cased', [
    ('tokenizer_config.json', {'do_lower_case': True}, False),
    ('tokenizer_config.json', {'do_lower_case': False}, True),
    ('tokenizer.json', {'normalizer': {'lowercase': False}}, True),
    ('tokenizer.json', {'normalizer': {'normalizers': [
        {'type': 'NFC'}, {'type': 'BertNormalizer', 'lowercase': True}]}},
     False)])
def test_neighbours_say_whether_a_vocabulary_is_cased(
    tmp_path, name, content, cased):
  (tmp_path / name).write_text(json.dumps(content))
  tokens = ['A'] if not cased else ['a']
  found, reason = vocabulary_file.detect_cased(str(tmp_path / 'v.txt'), tokens)
  assert found == cased and name in reason


def test_an_upper_case_letter_means_cased(tmp_path):
  path = str(tmp_path / 'vocab.txt')
  assert vocabulary_file.detect_cased(path, ['[PAD]', 'a', '中'])[0] is False
  assert vocabulary_file.detect_cased(path, ['[PAD]', '##É'])[0] is True


@pytest.mark.parametrize('cased', [True, False])
def test_what_is_written_says_whether_it_is_cased(tmp_path, cased):
  path = str(tmp_path / 'vocab.txt')
  tokens = [*SPECIAL_TOKENS, 'a' if cased else 'A']
  vocabulary_file.write(tokens, path, cased)
  assert vocabulary_file.detect_cased(path, tokens)[0] == cased
