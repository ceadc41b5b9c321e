import json

import pytest
import tokenizers

from bertjax.errors import UserError
from bertjax.runs import model_file
from bertjax.text import byte_level, vocabulary_file
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary import Vocabulary

LINES = [
  "The cats sat on the mat, and the cat said: don't.",
  "Le café naïve, 1990; the cat's  2 mats.",
] * 3
# Runs of white space, contractions, other scripts, parted and joined letters.
TEXTS = [
  '',
  ' ',
  'the cat',
  ' the  cat   sat\t on\u00a0 the\n\nmat \n',
  "It's DON'T we'll",
  'naïve cafe\u0301 東京。ΑΣ İ 1990½ №7',
  '👩‍👩‍👧 \u2028x\u3000y',
  '[MASK] <mask> [CLS] </s> <|endoftext|>',
]


def published(names, **settings):
  """Returns tokenizer.json as the library writes it."""
  library = tokenizers.ByteLevelBPETokenizer(**settings)
  library.train_from_iterator(
    LINES, 330, special_tokens=[*names, '<|endoftext|>'], show_progress=False
  )
  return json.loads(library.to_str())


@pytest.fixture(scope='module')
def roberta():
  return published(byte_level.NAMES[1])


def modernbert():
  """Returns one with NFC, runs of spaces as tokens, and a mask that strips."""
  whole = published(byte_level.NAMES[0])
  whole['normalizer'] = {'type': 'NFC'}
  size = len(whole['model']['vocab'])
  for number, content in enumerate(['  ', '   ', '|||IP_ADDRESS|||']):
    whole['added_tokens'].append(
      {
        'id': size + number,
        'content': content,
        'single_word': False,
        'lstrip': False,
        'rstrip': False,
        'normalized': True,
        'special': False,
      }
    )
  whole['added_tokens'][4]['lstrip'] = True
  return whole


def write(folder, whole, name='tokenizer.json'):
  path = folder / name
  path.write_text(json.dumps(whole))
  return str(path)


def without_special(whole):
  """Returns the library's own reading, in which special tokens are text."""
  added = [x for x in whole['added_tokens'] if not x['special']]
  return tokenizers.Tokenizer.from_str(
    json.dumps(whole | {'added_tokens': added})
  )


@pytest.mark.parametrize(
  'make',
  [
    lambda: published(byte_level.NAMES[1]),
    lambda: published(byte_level.NAMES[0], lowercase=True),
    lambda: published(byte_level.NAMES[0], add_prefix_space=True),
    modernbert,
  ],
  ids=['roberta', 'lowercase', 'prefix', 'modernbert'],
)
def test_ids_are_those_of_the_library_also_when_it_is_written(tmp_path, make):
  whole = make()
  reference = without_special(whole)
  path = write(tmp_path, whole)
  tokenizer = Tokenizer(*vocabulary_file.load(path))
  for text, pieces in zip(TEXTS, tokenizer.pieces(TEXTS), strict=True):
    wanted = reference.encode(text, add_special_tokens=False)
    assert pieces.ids == wanted.ids, text
  (tmp_path / 'again').mkdir()
  vocabulary_file.save(str(tmp_path / 'again'), *tokenizer.parts)
  assert Tokenizer.load(str(tmp_path / 'again')).parts == tokenizer.parts
  assert vocabulary_file.digest(path) == vocabulary_file.digest(
    str(tmp_path / 'again' / 'tokenizer.json')
  )


def test_tokens_hold_the_bytes_of_the_text(tmp_path, roberta):
  tokenizer = Tokenizer(*vocabulary_file.load(write(tmp_path, roberta)))
  every = ''.join(map(chr, [*range(0x250), 0x4E2D, 0x1F600]))
  for text in [*TEXTS, every]:
    (pieces,) = tokenizer.pieces([text])
    tokens = [tokenizer.tokens[i] for i in pieces.ids]
    assert b''.join(map(byte_level.to_bytes, tokens)) == text.encode()
    assert byte_level.spell(tokens) == text.removeprefix(' ')
  letters = byte_level.alphabet()
  assert {*map(byte_level.to_bytes, letters)} == {
    bytes([x]) for x in range(256)
  }


def test_special_tokens_are_found_by_their_role(tmp_path, roberta):
  tokens, cased, rules = vocabulary_file.load(write(tmp_path, roberta))
  vocabulary = Vocabulary(tokens, cased, rules)
  assert tokens[:6] == [*byte_level.NAMES[1], '<|endoftext|>']
  ids = 'pad_id', 'unk_id', 'cls_id', 'sep_id', 'mask_id'
  assert [getattr(vocabulary, x) for x in ids] == [0, 1, 2, 3, 4]
  # No mask hides <|endoftext|>, and none is replaced by it.
  assert vocabulary.special.nonzero()[0].tolist() == [*range(6)]
  assert vocabulary.replacements.min() == 6
  tokenizer = Tokenizer(tokens, cased, rules)
  assert tokenizer.row([9], [10]).ids == [2, 9, 3, 3, 10, 3]
  ((row, _),) = tokenizer.rows(['The [MASK] sat'], 9, masks=True)
  assert [*row.ids].count(4) == 1


def test_the_space_before_a_mask_is_hidden_with_it(tmp_path):
  tokenizer = Tokenizer(*vocabulary_file.load(write(tmp_path, modernbert())))
  (pieces,) = tokenizer.pieces(['The [MASK] sat'], masks=True)
  assert [tokenizer.tokens[i] for i in pieces.ids] == ['The', '[MASK]', 'Ġsat']


def test_pieces_continue_a_word_unless_a_space_is_in_front(tmp_path, roberta):
  vocabulary = Vocabulary(*vocabulary_file.load(write(tmp_path, roberta)))
  continues = dict(zip(vocabulary.tokens, vocabulary.continuation, strict=True))
  assert not continues['Ġthe'] and continues['.'] and continues['at']
  assert not continues['<s>'] and not continues['<|endoftext|>']


def test_offsets_leave_out_the_space_in_front(tmp_path, roberta):
  tokenizer = Tokenizer(*vocabulary_file.load(write(tmp_path, roberta)))
  (pieces,) = tokenizer.pieces(['The cat sat'])
  assert [tuple(x) for x in pieces.offsets if x[0] < x[1]][0] == (0, 3)
  assert pieces.offsets[-1][1] == 11
  assert all(
    'The cat sat'[i:j] == 'The cat sat'[i:j].strip() for i, j in pieces.offsets
  )


def test_case_is_that_of_the_normalizer_and_can_be_set(tmp_path, roberta):
  path = write(tmp_path, roberta)
  tokens, cased, rules = vocabulary_file.load(path)
  assert cased and vocabulary_file.detect_cased(path, tokens)[0]
  lower = Tokenizer(tokens, False, rules)
  upper = Tokenizer(tokens, True, rules)
  assert lower.pieces(['The'])[0].ids == upper.pieces(['the'])[0].ids
  lowers = published(byte_level.NAMES[0], lowercase=True)
  assert vocabulary_file.load(write(tmp_path, lowers))[1] is False


def test_tokens_are_shown_as_pieces_of_words(tmp_path, roberta):
  tokenizer = Tokenizer(*vocabulary_file.load(write(tmp_path, roberta)))
  (pieces,) = tokenizer.pieces(['The café'])
  ids = tokenizer.row(pieces.ids).ids
  shown = tokenizer.shown_row(ids)
  assert shown[0] == '<s>' and not shown[1].startswith('##')
  assert ' '.join(shown[1:-1]).replace(' ##', '') == 'The café'
  assert tokenizer.spell(pieces.ids) == 'The café'
  # What follows a mask may continue its word.
  after_mask = [tokenizer.id_of('cls'), tokenizer.id_of('mask'), pieces.ids[0]]
  assert tokenizer.shown_row(after_mask)[2].startswith('##')


def test_an_empty_normalizer_is_none(tmp_path, roberta):
  path = write(tmp_path, roberta)
  wanted = vocabulary_file.load(path)
  write(tmp_path, roberta | {'normalizer': {}})
  assert vocabulary_file.load(path) == wanted


def test_what_is_no_piece_of_a_word_is_shown_as_it_is(tmp_path, roberta):
  tokens, *more = vocabulary_file.load(write(tmp_path, roberta))
  tokens += ['[unused0]', 'Ġ##', 'Ġ##x']
  shown = Tokenizer(tokens, *more).shown
  assert [x for x in shown if 'endoftext' in x] == ['<|endoftext|>']
  assert shown[-3:] == ['[unused0]', 'Ġ##', 'Ġ##x']
  vocabulary_file.save(
    str(tmp_path), *vocabulary_file.load(write(tmp_path, roberta))
  )
  assert '<|endoftext|>' in model_file.shown_tokens(str(tmp_path))


def change(section, **settings):
  def made(whole):
    return whole | {section: (whole[section] or {}) | settings}

  return made


def _vocabulary(make):
  def made(whole):
    return change('model', vocab=make(whole['model']['vocab']))(whole)

  return made


def _more(content, **flags):
  def made(whole):
    number = len(whole['model']['vocab'])
    token = {'id': number, 'content': content, 'special': False}
    return whole | {'added_tokens': [*whole['added_tokens'], token | flags]}

  return made


@pytest.mark.parametrize(
  'make, message',
  [
    (change('model', type='Unigram'), "model.type = .*got 'Unigram'"),
    (change('model', dropout=0.1), 'model.dropout = None .*got 0.1'),
    (change('model', end_of_word_suffix='</w>'), "got '</w>'"),
    (change('model', ignore_merges=True), 'ignore_merges = False'),
    (change('normalizer', type='NFKC'), "normalizer = .*got .'NFKC'"),
    (change('normalizer', type='Sequence', normalizers=7), 'normalizer = .*7'),
    (change('normalizer', type='StripAccents'), "got .'StripAccents'"),
    (lambda x: x | {'normalizer': {'prepend': 'x'}}, 'normalizer = .*None'),
    (lambda x: x | {'pre_tokenizer': None}, "= 'ByteLevel' .*got None"),
    (change('pre_tokenizer', type='Metaspace'), "'ByteLevel' .*'Metaspace'"),
    (change('pre_tokenizer', use_regex=False), 'use_regex = True'),
    (change('model', merges=['x']), "merges of two tokens .*got 'x'"),
    (change('model', merges=5), 'merges of two tokens .*got 5'),
    (change('model', merges=['a qqq']), "all in model.vocab, .*got 'a qqq'"),
    (change('model', merges=[['Z', '!']]), "all in model.vocab, .*'Z', '!'"),
    (_vocabulary(lambda x: x | {'at': 999}), 'without gaps, in .*lacks'),
    (_vocabulary(lambda x: x | {'at': 7}), "each once .*got 7 for .*'at'"),
    (_vocabulary(lambda x: [*x]), 'model.vocab of ids from 0'),
    (
      _vocabulary(
        lambda x: {k: i for i, k in enumerate(y for y in x if y != 'Ø')}
      ),
      "the 256 bytes in .*lacks 1, such as 'Ø'",
    ),
    (_more('a b'), "added token 'a b' = 'plain'"),
    (_more('ab', rstrip=True), "added token 'ab' = 'plain'"),
  ],
)
def test_what_is_not_understood_is_refused_in_one_line(
  tmp_path, roberta, make, message
):
  path = write(tmp_path, make(roberta), 'mine.json')
  with pytest.raises(UserError, match=message) as caught:
    vocabulary_file.load(path)
  assert path in str(caught.value) and '\n' not in str(caught.value)
  assert 'point VOCAB_FILE, MODEL, INIT_FROM or RUN_DIR elsewhere' in str(
    caught.value
  )


@pytest.mark.parametrize('missing', byte_level.NAMES[1])
def test_a_special_token_that_is_missing_is_named(tmp_path, roberta, missing):
  names = [x for x in byte_level.NAMES[1] if x != missing]
  path = write(tmp_path, published(names))
  with pytest.raises(UserError, match=f'lacks {missing}; mend it'):
    vocabulary_file.load(path)


def test_a_file_that_is_cut_short_or_missing_is_one_line(tmp_path, roberta):
  path = tmp_path / 'tokenizer.json'
  with pytest.raises(UserError, match='no file .*tokenizer.json'):
    vocabulary_file.load(str(path))
  path.write_text(json.dumps(roberta)[:-100])
  with pytest.raises(UserError, match='JSON in .*tokenizer.json') as caught:
    vocabulary_file.load(str(path))
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'file, setting',
  [
    ('tokenizer_config.json', {'tokenizer_class': 'T5Tokenizer'}),
    ('config.json', {'tokenizer_class': 'BertJapaneseTokenizer'}),
    ('tokenizer_config.json', {'add_prefix_space': True}),
  ],
)
def test_files_beside_it_that_ask_for_others_are_refused(
  tmp_path, roberta, file, setting
):
  path = write(tmp_path, roberta)
  (tmp_path / file).write_text(json.dumps(setting))
  with pytest.raises(UserError, match=f'{[*setting][0]} = .*{file}'):
    vocabulary_file.load(path)


def test_a_folder_of_two_vocabularies_is_refused(tmp_path, roberta):
  write(tmp_path, roberta)
  assert vocabulary_file.find(str(tmp_path)) == str(tmp_path / 'tokenizer.json')
  (tmp_path / 'vocab.txt').write_text('\n'.join(vocabulary_file.SPECIAL_TOKENS))
  old = json.loads(json.dumps(roberta))
  del old['model']['type']
  for whole in (roberta, old):
    write(tmp_path, whole)
    with pytest.raises(
      UserError, match='vocab.txt and .* two tokenizers; take'
    ):
      Tokenizer.load(str(tmp_path))


def test_a_vocabulary_does_not_go_beside_that_of_another_tokenizer(
  tmp_path, roberta
):
  path = write(tmp_path, roberta)
  parts = vocabulary_file.load(path)
  with pytest.raises(UserError, match='tokenizer.json is of another tokenizer'):
    vocabulary_file.save(str(tmp_path), vocabulary_file.SPECIAL_TOKENS, True)
  vocabulary_file.save(str(tmp_path), *parts)
  (tmp_path / 'vocab.txt').touch()
  with pytest.raises(UserError, match='vocab.txt is of another tokenizer'):
    vocabulary_file.save(str(tmp_path), *parts)


def test_wordpiece_is_read_from_a_path_to_its_tokenizer_json(tmp_path):
  names = vocabulary_file.SPECIAL_TOKENS
  library = tokenizers.BertWordPieceTokenizer(
    {token: i for i, token in enumerate(names)}
  )
  path = write(tmp_path, json.loads(library.to_str()))
  assert vocabulary_file.load(path) == ([*names], False)
