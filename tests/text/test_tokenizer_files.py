"""Tokenizers of RoBERTa's and ModernBERT's shape against transformers.

Made by experiments/golden/byte_level_tokenizer.py, with transformers.
"""

import json
import pathlib
import shutil

import pytest
import tokenizers

from bertjax.corpus.bulk_tokenizer import BulkTokenizer
from bertjax.errors import UserError
from bertjax.text import (
  byte_level,
  context_windows,
  tokenizer_files,
  vocabulary_file,
  word_rows,
)
from bertjax.text.tokenizer import Tokenizer

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'byte_level'
FAMILIES = 'roberta', 'modernbert'
TYPES = {'roberta': 1, 'modernbert': 2}  # in the pairs of transformers


@pytest.fixture(scope='module', params=FAMILIES)
def family(request):
  return request.param


@pytest.fixture(scope='module')
def tokenizer(family):
  return Tokenizer.load(str(GOLDEN / family))


@pytest.fixture(scope='module')
def golden(family):
  return json.loads((GOLDEN / family / 'rows.json').read_text())


def trimmed(offsets, text):
  """Returns offsets without the spaces that a token begins with."""
  start, end = offsets
  space = len(text[start:end]) - len(text[start:end].lstrip(' '))
  return start + space, end


@pytest.mark.parametrize('kind', ['texts', 'pairs', 'cut', 'masked'])
def test_rows_are_those_of_transformers(tokenizer, golden, kind):
  assert golden[kind]
  masks = kind == 'masked'
  for row in golden[kind]:
    inputs = [row['texts']]
    ((found, is_cut),) = tokenizer.rows(inputs, row['length'] or 999, masks)
    assert found.ids == row['ids'], row['texts']
    assert is_cut == (kind == 'cut')
    if masks:
      assert tokenizer.id_of('mask') in found.ids
    if is_cut:
      assert len(found.ids) == row['length']


@pytest.mark.parametrize('kind', ['texts', 'pairs', 'masked'])
def test_offsets_are_those_of_transformers(tokenizer, golden, family, kind):
  added = [tokenizer.id_of(role) for role in ('cls', 'sep')]
  for row in golden[kind]:
    found = tokenizer.pieces(row['texts'], masks=kind == 'masked')
    pairs = zip(row['texts'], found, strict=True)
    texts = [text for text, x in pairs for _ in x.ids]
    both = zip(row['ids'], row['offsets'], strict=True)
    wanted = [tuple(x) for i, x in both if i not in added]
    if family == 'modernbert':  # whose offsets hold the space
      wanted = [*map(trimmed, wanted, texts)]
    assert [x for each in found for x in each.offsets] == wanted


def test_a_written_directory_makes_the_same_rows(
  tmp_path, tokenizer, golden, family
):
  tokenizer_files.save(str(tmp_path), tokenizer, 128, TYPES[family])
  assert Tokenizer.load(str(tmp_path)).parts == tokenizer.parts
  # It is what transformers takes a tokenizer.json with.
  library = tokenizers.Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
  for kind in ('texts', 'pairs', 'cut', 'masked'):
    library.encode_special_tokens = kind != 'masked'
    for row in golden[kind]:
      library.no_truncation()
      if row['length']:
        library.enable_truncation(row['length'])
      found = library.encode(*row['texts'])
      assert found.ids == row['ids']
      assert found.type_ids == row['types']
      assert found.offsets == [tuple(x) for x in row['offsets']]
      assert found.special_tokens_mask == row['special']


@pytest.mark.parametrize('types', [0, 1, 2])
def test_settings_name_a_class_that_reads_all_of_tokenizer_json(
  tmp_path, tokenizer, golden, family, types
):
  tokenizer_files.save(str(tmp_path), tokenizer, 128, types)
  path = tmp_path / 'tokenizer_config.json'
  found = json.loads(path.read_text())
  assert found['tokenizer_class'] == 'PreTrainedTokenizerFast'
  assert found['model_max_length'] == 128
  assert ('token_type_ids' in found['model_input_names']) == (types == 2)
  theirs = json.loads((GOLDEN / family / path.name).read_text())
  names = {x: theirs[x] for x in theirs if x.endswith('_token')}
  assert names.items() <= found.items() and len(names) >= 5
  beside = json.loads((tmp_path / 'special_tokens_map.json').read_text())
  assert beside == names


def test_much_text_gets_the_same_ids(tokenizer, golden):
  texts = [row['texts'][0] for row in golden['texts']]
  # Clean text holds neither line ends nor NUL.
  lines = [x for text in texts for x in text.replace('\0', '').splitlines()]
  lines += ['a' + ' ' * n + 'b' for n in range(30)]
  found = BulkTokenizer(tokenizer).encode(lines)
  wanted = tokenizer.pieces(lines)
  for line, (ids, _), pieces in zip(lines, found, wanted, strict=True):
    assert ids.tolist() == pieces.ids, line


def test_words_have_the_ids_of_running_text(tokenizer):
  words = 'The U.N. office in  Genève - ( 日本 ) said : don\'t " go " !'.split()
  ((piece,),) = word_rows.make(tokenizer, [words], 128)
  (running,) = tokenizer.pieces([' '.join(words)])
  assert piece.row.ids == tokenizer.row(running.ids).ids
  assert [running.ids[i - 1] for i in piece.first] == [
    tokenizer.pieces([' ' * bool(n) + word])[0].ids[0]
    for n, word in enumerate(words)
  ]


def test_windows_of_a_context_leave_room_for_all_separators(tokenizer, family):
  context = 'The city of London was built in 1990 and is not old.'
  found = context_windows.make(
    tokenizer, 'Who?', context, length=24, stride=8, question_length=8
  )
  between = [tokenizer.id_of('sep')] * (2 if family == 'roberta' else 1)
  assert len(found) > 1 and max(len(x.row.ids) for x in found) == 24
  (asked,) = tokenizer.pieces(['Who?'])
  head = [tokenizer.id_of('cls'), *asked.ids, *between]
  for window in found:
    assert window.row.ids[: window.begin] == head
    assert len(window.row.ids) == window.begin + len(window.offsets) + 1
  start = context.index('London')
  window = found[0]
  place = context_windows.token_span(window, start, start + len('London'))
  first, last = (window.offsets[x - window.begin] for x in place)
  assert context[first[0] : last[1]] == 'London'
  with pytest.raises(UserError, match=rf'LENGTH \+ {2 + len(between)}, got'):
    context_windows.make(tokenizer, 'Who?', context, 24, 24, 8)


def older(folder, family='roberta'):
  """Writes vocab.json and merges.txt, as of before tokenizer.json."""
  whole = json.loads((GOLDEN / family / 'tokenizer.json').read_text())
  vocab = whole['model']['vocab']
  (folder / 'vocab.json').write_text(json.dumps(vocab))
  merges = '\n'.join(map(' '.join, whole['model']['merges']))
  (folder / 'merges.txt').write_text(f'#version: 0.2\n{merges}\n')


def test_vocab_json_and_merges_are_read_if_there_is_no_tokenizer_json(tmp_path):
  older(tmp_path)
  shutil.copy(GOLDEN / 'roberta' / 'tokenizer_config.json', tmp_path)
  tokenizer = Tokenizer.load(str(tmp_path))
  assert tokenizer.parts == Tokenizer.load(str(GOLDEN / 'roberta')).parts
  path = str(tmp_path / 'vocab.json')
  assert vocabulary_file.load(path) == vocabulary_file.load(
    str(tmp_path / 'vocab.txt')
  )
  assert vocabulary_file.find(str(tmp_path)) == path
  settings = {'add_prefix_space': True}
  (tmp_path / 'tokenizer_config.json').write_text(json.dumps(settings))
  words = [
    Tokenizer.load(str(tmp_path)).pieces([x])[0].ids for x in ('a', ' a')
  ]
  assert words[0] == words[1] == tokenizer.pieces([' a'])[0].ids


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda x: (x / 'merges.txt').unlink(), 'got no merges.txt; .*from_pret'),
    (
      lambda x: (x / 'added_tokens.json').write_text('{"<new>": 701}'),
      "got added_tokens.json with '<new>'; .*save_pretrained",
    ),
    (
      lambda x: (x / 'merges.txt').write_text('a b c\n'),
      "merges of two tokens .*'a b c'",
    ),
    (
      lambda x: (x / 'vocab.json').write_text('{"model": "a"}'),
      'model.vocab of ids from 0',
    ),
    (lambda x: (x / 'vocab.json').write_text('{"a": '), 'JSON in .*vocab.json'),
  ],
)
def test_a_damaged_older_directory_is_one_line(tmp_path, change, message):
  older(tmp_path)
  change(tmp_path)
  with pytest.raises(UserError, match=message) as caught:
    Tokenizer.load(str(tmp_path))
  assert '\n' not in str(caught.value)


def test_the_tokenizer_of_another_model_is_refused(tmp_path, family):
  shutil.copytree(GOLDEN / family, tmp_path, dirs_exist_ok=True)
  ids = {x: Tokenizer.load(str(tmp_path)).id_of(x) for x in byte_level.ROLES}
  config = tmp_path / 'config.json'
  right = {f'{x}_token_id': i for x, i in ids.items()}
  config.write_text(json.dumps(right))
  Tokenizer.load(str(tmp_path))
  config.write_text(json.dumps(right | {'pad_token_id': 17}))
  with pytest.raises(UserError, match='pad_token_id = .*got 17: one of them'):
    Tokenizer.load(str(tmp_path))
  names = vocabulary_file.SPECIAL_TOKENS
  for path in GOLDEN.joinpath(family).iterdir():
    (tmp_path / path.name).unlink()
  (tmp_path / 'vocab.txt').write_text('\n'.join(names))
  config.write_text(json.dumps({'pad_token_id': 1}))
  with pytest.raises(UserError, match=r'pad_token_id = 0, the id of \[PAD\]'):
    Tokenizer.load(str(tmp_path))
