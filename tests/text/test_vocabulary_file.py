import json
import os
import resource

import pytest
import tokenizers

from bertjax.errors import UserError
from bertjax.text import vocabulary_file
from bertjax.text.vocabulary_file import SPECIAL_TOKENS


def test_a_written_vocabulary_is_read_back(tmp_path):
  path = str(tmp_path / 'vocab.txt')
  vocabulary_file.write([*SPECIAL_TOKENS, 'é', '\u2028'], path, cased=False)
  with open(path, 'rb') as file:
    assert file.read().endswith('[MASK]\né\n\u2028\n'.encode())
  assert vocabulary_file.read(path) == [*SPECIAL_TOKENS, 'é', '\u2028']


@pytest.mark.parametrize(
  'most, name', [(20, 'tokenizer_config.json'), (500, 'vocab.txt')]
)
def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path, most, name):
  path = str(tmp_path / 'vocab.txt')
  vocabulary_file.write([*SPECIAL_TOKENS, 'a'], path, cased=False)
  longer = [*SPECIAL_TOKENS, *map(str, range(1000))]
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:  # a limit on the size of files fails as a full disk does
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    with pytest.raises(UserError, match=f'{name}: File too large') as raised:
      vocabulary_file.write(longer, path, cased=False)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert '\n' not in str(raised.value) and 'RUN_DIR' in str(raised.value)
  assert {*os.listdir(tmp_path)} == {'vocab.txt', 'tokenizer_config.json'}
  assert vocabulary_file.read(path)[-1] == 'a'
  vocabulary_file.write(longer, path, cased=False)
  assert vocabulary_file.read(path)[-1] == '999'


def test_windows_line_ends_are_read(tmp_path):
  path = tmp_path / 'vocab.txt'
  path.write_bytes(
    '\ufeff'.encode()
    + b'\r\n'.join([*map(str.encode, SPECIAL_TOKENS), b'a', b'', b''])
  )
  assert vocabulary_file.read(str(path)) == [*SPECIAL_TOKENS, 'a']


@pytest.mark.parametrize(
  'content, message',
  [
    (None, 'no file'),
    (b'\xff', 'UTF-8'),
    (b'', r'lacks \[PAD\]'),
    (b'[PAD]\n[UNK]\n[CLS]\n[SEP]\n', r'lacks \[MASK\]'),
    (b'[PAD]\n[UNK]\na\na\n', 'lines 3 and 4'),
  ],
)
def test_a_bad_vocabulary_is_refused_in_one_line(tmp_path, content, message):
  path = tmp_path / 'vocab.txt'
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(UserError, match=message) as caught:
    vocabulary_file.read(str(path))
  assert str(path) in str(caught.value)
  assert 'point VOCAB_FILE, MODEL, INIT_FROM or RUN_DIR elsewhere' in str(
    caught.value
  )
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'name, most',
  [('vocab.txt', 32), ('tokenizer.json', 32), ('config.json', 4)],
)
def test_a_file_too_large_for_a_vocabulary_is_not_read(tmp_path, name, most):
  with open(tmp_path / name, 'wb') as file:
    file.truncate(1 << 30)  # as a hole, which takes no disk
  with pytest.raises(UserError, match=f'at most {most} MB in .*, got 1024;'):
    vocabulary_file.read(str(tmp_path / 'vocab.txt'))


def test_a_deeply_nested_file_beside_a_vocabulary_is_refused(tmp_path):
  (tmp_path / 'config.json').write_text('[' * 100_000)
  with pytest.raises(UserError, match='JSON in .*config.json') as caught:
    vocabulary_file.read(str(tmp_path / 'vocab.txt'))
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'name, content, cased',
  [
    ('tokenizer_config.json', {'do_lower_case': True}, False),
    ('tokenizer_config.json', {'do_lower_case': False}, True),
    ('tokenizer.json', {'normalizer': {'lowercase': False}}, True),
    ('tokenizer.json', {'normalizer': {'lowercase': True}}, False),
  ],
)
def test_neighbours_say_whether_a_vocabulary_is_cased(
  tmp_path, name, content, cased
):
  (tmp_path / name).write_text(json.dumps(content))
  tokens = ['A'] if not cased else ['a']
  found, reason = vocabulary_file.detect_cased(str(tmp_path / 'v.txt'), tokens)
  assert found == cased and name in reason


def test_a_case_that_is_neither_true_nor_false_is_refused(tmp_path):
  config = {'do_lower_case': 'false'}
  with pytest.raises(UserError, match="True or False.* as 'do_lower_case' in"):
    read_beside(tmp_path, tokenizer_config=config)


def whole(lowercase=True):
  """Returns tokenizer.json as the library writes it for BERT."""
  tokenizer = tokenizers.BertWordPieceTokenizer(
    {token: i for i, token in enumerate(SPECIAL_TOKENS)}, lowercase=lowercase
  )
  return json.loads(tokenizer.to_str())


def read_beside(folder, **files):
  """Reads a vocabulary beside `name`.json of each argument."""
  path = folder / 'vocab.txt'
  path.write_text('\n'.join(SPECIAL_TOKENS))
  for name, content in files.items():
    (folder / f'{name}.json').write_text(json.dumps(content))
  return vocabulary_file.read(str(path))


@pytest.mark.parametrize(
  'config',
  [
    {'do_lower_case': True, 'strip_accents': True},
    {'do_lower_case': False, 'strip_accents': False},
    {
      'do_lower_case': True,
      'strip_accents': None,
      'tokenize_chinese_chars': True,
      'tokenizer_class': 'BertTokenizerFast',
    },
    {'strip_accents': True, 'tokenizer_class': None},
    {'tokenizer_class': 'PreTrainedTokenizerFast'},
    {'tokenizer_class': 'TokenizersBackend', 'do_lower_case': None},
  ],
)
def test_plain_tokenizers_of_bert_are_read(tmp_path, config):
  for lowercase in (True, False):
    content = whole(config.get('do_lower_case', lowercase) is not False)
    if config.get('strip_accents') is not None:
      content['normalizer']['strip_accents'] = config['strip_accents']
      content['normalizer']['lowercase'] = config['strip_accents']
    assert read_beside(
      tmp_path,
      tokenizer_config=config,
      tokenizer=content,
      config={'tokenizer_class': 'BertTokenizer'},
    ) == list(SPECIAL_TOKENS)


@pytest.mark.parametrize(
  'file, change, message',
  [
    (
      'tokenizer_config',
      {'do_lower_case': True, 'strip_accents': False},
      'strip_accents = True .*got False',
    ),
    ('tokenizer_config', {'strip_accents': False}, 'strip_accents'),
    (
      'tokenizer_config',
      {'do_lower_case': False, 'strip_accents': True},
      'strip_accents = False .*got True',
    ),
    (
      'tokenizer_config',
      {'tokenize_chinese_chars': False},
      'tokenize_chinese_chars = True .*got False',
    ),
    (
      'tokenizer_config',
      {'tokenizer_class': 'BertJapaneseTokenizer'},
      "tokenizer_class = 'BertTokenizer' .*got 'BertJapaneseTokenizer'",
    ),
    (
      'tokenizer_config',
      {'tokenizer_class': 'PreTrainedTokenizerFast'},
      'tokenizer_class',
    ),
    ('tokenizer_config', ['x'], 'an object'),
    ('config', {'tokenizer_class': 'BertJapaneseTokenizer'}, 'tokenizer_class'),
  ],
)
def test_another_tokenizer_is_refused(tmp_path, file, change, message):
  with pytest.raises(UserError, match=message) as caught:
    read_beside(tmp_path, **{file: change})
  assert str(tmp_path / f'{file}.json') in str(caught.value)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'section, change, message',
  [
    ('normalizer', {'strip_accents': False}, 'normalizer.strip_accents'),
    (
      'normalizer',
      {'handle_chinese_chars': False},
      'normalizer.handle_chinese_chars = True .*got False',
    ),
    ('normalizer', {'clean_text': False}, 'normalizer.clean_text'),
    ('normalizer', {'type': 'NFC'}, "normalizer.type = 'BertNormalizer'"),
    ('normalizer', None, "normalizer.type = .*got 'null'"),
    ('pre_tokenizer', {'type': 'Whitespace'}, "'BertPreTokenizer'"),
    ('model', {'type': 'BPE'}, "model.type = 'WordPiece' .*got 'BPE'"),
    ('model', {'continuing_subword_prefix': ''}, "= '##' .*got ''"),
    ('model', {'max_input_chars_per_word': 200}, '= 100 .*got 200'),
  ],
)
def test_another_tokenizer_json_is_refused(tmp_path, section, change, message):
  content = whole()
  content[section] = change and content[section] | change
  with pytest.raises(UserError, match=message) as caught:
    read_beside(tmp_path, tokenizer=content)
  assert str(tmp_path / 'tokenizer.json') in str(caught.value)


def test_tokenizer_json_alone_is_read(tmp_path):
  content = whole()
  content['model']['vocab'] = {'b': 6, 'a': 5} | content['model']['vocab']
  (tmp_path / 'tokenizer.json').write_text(json.dumps(content))
  tokens = [*SPECIAL_TOKENS, 'a', 'b']
  path = str(tmp_path / 'vocab.txt')
  assert vocabulary_file.load(path) == (tokens, False)
  with pytest.raises(UserError, match='no file'):
    vocabulary_file.read(str(tmp_path / 'vocabulary.txt'))
  (tmp_path / 'vocab.txt').write_text('\n'.join(tokens))
  assert vocabulary_file.read(path) == tokens
  for other in (tokens[:-1], [*tokens[:-2], 'b', 'a']):
    (tmp_path / 'vocab.txt').write_text('\n'.join(other))
    with pytest.raises(UserError, match='tokenizer.json have other tokens'):
      vocabulary_file.read(path)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'model': whole()['model'] | {'vocab': ['a']}}, 'model.vocab of ids'),
    ({'added_tokens': [{'content': '[PAD]', 'id': 9}]}, 'without gaps'),
    ({'added_tokens': [{'content': '[ENT]', 'id': 5}]}, 'got .*ENT'),
    ({'added_tokens': [1]}, "as 'added_tokens' in .*, got .1."),
    ({'added_tokens': [{'x': 1}]}, "expected 'content' in"),
    ({'normalizer': [1]}, "expected a dict .* as 'normalizer'"),
    ({'model': 'WordPiece'}, "expected a dict .* as 'model'"),
    ({'normalizer': {'lowercase': 'no'}}, "True or False.* as 'lowercase'"),
  ],
)
def test_a_bad_tokenizer_json_is_refused(tmp_path, change, message):
  (tmp_path / 'tokenizer.json').write_text(json.dumps(whole() | change))
  with pytest.raises(UserError, match=message) as caught:
    vocabulary_file.read(str(tmp_path / 'vocab.txt'))
  assert str(tmp_path / 'tokenizer.json') in str(caught.value)


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


def test_a_vocabulary_of_an_unknown_scheme_is_one_line():
  with pytest.raises(
    UserError, match='cannot read https://x/.*: unknown scheme'
  ):
    vocabulary_file.read('https://x/vocab.txt')
