"""The vocabulary against the reference tokenizer, on all of Unicode."""

import argparse
import ast
import inspect
import pickle
import pydoc_data.topics
import sys
import unicodedata
import unittest.mock

import numpy as np
import pytest
import seqio
import tensorflow as tf
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.data import vocabularies
from bertjax.data.bert_characters import character_table
from bertjax.data.vocabularies import BertVocabulary
from bertjax.errors import UserError
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

CHARACTERS = [
  chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000
]
ASSIGNED = [c for c in CHARACTERS if unicodedata.category(c) != 'Cn']
WORDS = ('the', 'un', '##able', 'mask', 'MASK', 'the end', "don't")
# Marks that BERT does not strip, so that their order can be seen, and a few
# that it does; letters and what it removes between them.
MARKS = '\u1b44\u302e\U0001d165\U0001d15e\U0001e94a\U0001e944\u0301\u0334\u034f'
TROUBLE = MARKS + 'aéİΣ각中 .\u200d\0\ufffd\ue000\u2028'


@pytest.fixture(scope='module', params=[False, True], ids=['uncased', 'cased'])
def vocabulary(request):
  """Holds every character, so that no difference hides in an [UNK]."""
  held = [c for c in ASSIGNED if unicodedata.category(c) != 'Co']
  return BertVocabulary(
    [*SPECIAL_TOKENS, *held, *('##' + c for c in held), *WORDS],
    cased=request.param,
  )


@pytest.fixture(scope='module')
def reference(vocabulary):
  whole = tokenizers.BertWordPieceTokenizer(
    {token: i for i, token in enumerate(vocabulary.tokens)},
    lowercase=not vocabulary.cased,
  )
  # Its parts alone do not look for special tokens in the text.
  parts = tokenizers.Tokenizer(whole.model)
  parts.normalizer = whole.normalizer
  parts.pre_tokenizer = whole.pre_tokenizer
  return parts


def small(*tokens, cased=False):
  return BertVocabulary([*SPECIAL_TOKENS, *tokens], cased)


def assert_equal(vocabulary, reference, lines):
  ids = vocabulary.encode_tf(tf.constant(lines, tf.string, [len(lines)]))
  expected = reference.encode_batch(lines, add_special_tokens=False)
  lengths = [len(e) for e in expected]
  flat = [i for e in expected for i in e.ids]
  if (
    ids.row_lengths().numpy().tolist() == lengths
    and ids.values.numpy().tolist() == flat
  ):
    return
  for line, row, e in zip(lines, ids, expected, strict=True):
    assert row.numpy().tolist() == e.ids, ascii(line)


def docstrings(module):
  for node in ast.walk(ast.parse(inspect.getsource(module))):
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
      yield from (ast.get_docstring(node) or '').split('\n')


def test_ids_equal_the_reference_on_python_documentation(vocabulary, reference):
  lines = '\n'.join(pydoc_data.topics.topics.values()).split('\n')
  for module in (argparse, inspect, unittest.mock):
    lines += docstrings(module)
  assert_equal(vocabulary, reference, lines)


def test_ids_equal_the_reference_on_every_code_point(vocabulary, reference):
  # Apart, as one of these sends its whole batch another way.
  movable = character_table(vocabulary.cased).movable
  for way in (False, True):
    characters = [c for c in ASSIGNED if movable[ord(c)] == way]
    assert_equal(
      vocabulary,
      reference,
      [
        ' '.join(f'{c} ab{c}cd {c}abc abc{c}' for c in characters[i : i + 64])
        for i in range(0, len(characters), 64)
      ],
    )


def test_ids_equal_the_reference_where_a_character_has_its_own_line(
  vocabulary, reference
):
  # So a line is plain, or not, by this character only.
  assert_equal(
    vocabulary,
    reference,
    [
      f'{c} aB{c}Cd {c}abc abc{c}'
      for c in [*CHARACTERS[:0x3100], *CHARACTERS[0x4E00:0xA000:50]]
    ],
  )


def test_unassigned_code_points_are_kept_or_removed_as_the_reference_does(
  vocabulary, reference
):
  unassigned = sorted(set(CHARACTERS) - set(ASSIGNED))[::50]
  assert_equal(vocabulary, reference, [f'a{c}b {c}' for c in unassigned])


@pytest.mark.parametrize(
  'letter', ['a', 'É', 'd\u0301', 'ж', 'İ', 'あ', '각', 'ß', 'ﬁ', '𐤀', '𝔘', '𐐀']
)
def test_words_are_unknown_above_a_hundred_characters(
  vocabulary, reference, letter
):
  words = [letter * n for n in range(1, 202)]
  assert_equal(vocabulary, reference, words)
  assert_equal(vocabulary, reference, [' '.join(words), f'x.{words[-1]}.x'])
  assert vocabulary.encode(letter * 201) == [vocabulary.unk_id]


@pytest.mark.parametrize(
  'text',
  [
    '',
    ' ',
    '\n\t\r\n',
    'Wait… what?!',
    'naïve CAFÉ façade',
    'a\u0301\u0327b',
    'ὈΔΥΣΣΕΎΣ ΟΔΟΣ. ΣΑΣ Σ',
    'İstanbul ISPARTA ılık',
    'ﬁnal ﬂow ﬃ ŉ ǆ',
    '東京タワーとカﾞ𠀀豈',
    '한국어 텍스트 \u1112\u1161\u11ab',
    '👍🏽 👩‍👩‍👧 🇩🇪',
    'שָׁלוֹם \u202bעולם\u202c',
    'السَّلامُ عليكم،',
    'नमस्ते दुनिया।',
    'ไทยแลนด์',
    'a\0b \x01c\x7f\x85d\xade',
    'A\u00a0B\u3000C\u2003D\u200bE\ufeffF',
    '“Quotes” – and ‘dashes’ — €5 £3 ½ x² №7',
    'tab\tnew\nline\u2028sep\u2029',
    '##able un##able ## #',
    'the end',
    "don't",
    'x\ufffdy \ue123z',
    'Ⓐ ℌ ﷺ ẞ ǅ',
    'e\u0301' * 60,
    '¡Hola! ¿Qué?',
    '`a^b~c|d$e+f=g<h>',
    'ꙮ \U0001f1e6\U000e0041',
  ],
)
def test_ids_equal_the_reference_on_hard_cases(vocabulary, reference, text):
  assert_equal(vocabulary, reference, [text, text + ' the', 'the' + text])
  expected = reference.encode(text, add_special_tokens=False).ids
  assert vocabulary.encode(text) == expected
  assert vocabulary.encode_tf(text).numpy().tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text() | st.text(TROUBLE), max_size=8))
def test_ids_equal_the_reference_on_any_text(vocabulary, reference, lines):
  assert_equal(vocabulary, reference, lines)


def test_marks_come_in_the_order_of_the_reference(vocabulary, reference):
  assert_equal(
    vocabulary,
    reference,
    [
      f'a{x}{between}{y}{z}'
      for x in MARKS
      for y in MARKS
      for z in MARKS[:4]
      for between in ('', '\u034f', '\u200d')
    ],
  )


def test_special_tokens_in_a_text_are_text(vocabulary, reference):
  texts = [
    form.format(token)
    for token in SPECIAL_TOKENS
    for form in ('{}', 'the {}s', 'é{}')
  ]
  assert_equal(vocabulary, reference, texts)
  for text in texts:
    ids = vocabulary.encode(text)
    assert not set(ids) & set(np.flatnonzero(vocabulary.special))
  mask = 'MASK' if vocabulary.cased else 'mask'
  assert [vocabulary.tokens[i] for i in vocabulary.encode('[MASK]')] == [
    '[',
    mask,
    ']',
  ]


def test_bytes_that_are_not_utf8_are_passed_over(vocabulary):
  ids = vocabulary.encode_tf([b'a\xff b', b'\xe4\xb8 a', b'\xed\xa0\x80', b'b'])
  a, b = vocabulary.encode('a b')
  assert ids.to_list() == [[a, b], [a], [], [b]]


@pytest.mark.parametrize('text', ['The end. ', 'naïve café ', 'x'])
def test_a_line_of_ten_megabytes_is_tokenized(vocabulary, text):
  times = 10_000_000 // len(text)
  ids = vocabulary.encode_tf(text * times).numpy()
  once = vocabulary.encode(text) * times
  np.testing.assert_array_equal(
    ids, once if text.endswith(' ') else [vocabulary.unk_id]
  )


def test_data_sets_share_a_vocabulary_and_resume(tmp_path):
  # One line for each way of the tokenizer.
  vocabulary = small('the', 'e', '##nd', 'a', '##\u1b44', '\U0001d165', 'b')
  texts = ['the end', 'é \u1b44', '\U0001d165 a', 'b']

  def iterator():
    return iter(
      tf.data.Dataset.from_tensor_slices(texts)
      .batch(2)
      .map(vocabulary.encode_tf, num_parallel_calls=2)
    )

  first, second = iterator(), iterator()
  next(first)
  path = tf.train.Checkpoint(it=first).write(str(tmp_path / 'it'))
  tf.train.Checkpoint(it=second).read(path)
  expected = [vocabulary.encode(text) for text in texts[2:]]
  assert next(first).to_list() == next(second).to_list() == expected


def test_graphs_do_not_copy_the_models_and_tables(vocabulary):
  encode = tf.function(vocabulary.encode_tf)
  graph = encode.get_concrete_function(tf.TensorSpec([None], tf.string)).graph
  assert graph.as_graph_def().ByteSize() < 200_000  # of megabytes


def test_shapes_and_dtypes_are_those_of_seqio():
  vocabulary = small('a', '##b', '[unused0]')
  one, many = vocabulary.encode_tf('abb a'), vocabulary.encode_tf(['abb', ''])
  assert one.dtype == many.dtype == tf.int32
  assert one.shape == [4] and many.shape == [2, None]
  assert isinstance(vocabulary, seqio.Vocabulary)
  assert vocabulary.vocab_size == 8 and vocabulary.eos_id is None
  assert vocabulary.continuation.tolist() == [False] * 6 + [True, False]
  assert vocabulary.special.tolist() == [True] * 5 + [False] * 3
  assert vocabulary.replacements.tolist() == [5, 6]
  with pytest.raises(ValueError, match=r'\[lines\]'):
    vocabulary.encode_tf([['a']])


def test_decoding_joins_pieces():
  vocabulary = small('un', '##able', '.')
  ids = [2, 5, 6, 7, 3]
  assert vocabulary.decode(ids) == '[CLS] unable . [SEP]'
  texts = vocabulary.decode_tf(tf.constant([ids, ids[::-1]]))
  assert texts.numpy().tolist() == [
    b'[CLS] unable . [SEP]',
    b'[SEP] .able un [CLS]',
  ]


def test_vocabularies_are_equal_by_content():
  used = small('a')
  assert used.encode_tf(['a', 'é']).to_list() == [[5], [1]]
  assert small('a') == small('a') == pickle.loads(pickle.dumps(used))
  assert hash(small('a')) == hash(small('a'))
  assert small('a') != small('b') and small('a') != small('a', cased=True)


TEXTS = ['The cats sat, the cats sit: cafés!', 'ab cd ef gh ij kl mn op'] * 3


def test_training_gives_distinct_tokens_special_ones_first():
  tokens = vocabularies.train(iter(TEXTS), 200, cased=False)
  assert len(tokens) == len(set(tokens)) == 200
  assert tokens[:5] == list(SPECIAL_TOKENS)
  assert {'cats', 'cafes', '##a', 'b'} - set(tokens) <= {'b'}
  assert tokens[-1].startswith('[unused') and '[unused0]' in tokens
  vocabulary = BertVocabulary(tokens, cased=False)
  assert vocabulary.unk_id not in vocabulary.encode(' '.join(TEXTS))
  assert 'The' in vocabularies.train(TEXTS, 200, cased=True)


def test_training_does_not_depend_on_chance_or_order():
  # All pairs of letters tie; the library alone breaks ties at random.
  first = vocabularies.train(TEXTS, 50, cased=False)
  assert all(
    vocabularies.train(texts, 50, cased=False) == first
    for texts in (TEXTS, TEXTS[::-1], TEXTS, TEXTS[::-1])
  )


def test_characters_below_the_minimum_frequency_are_left_out():
  tokens = vocabularies.train(['aa aa', 'b\u1234'], 20, cased=False)
  assert 'a' in tokens and not {'b', '\u1234'} & set(tokens)


def test_training_refuses_a_size_below_the_alphabet():
  with pytest.raises(UserError, match='VOCAB_SIZE to 8'):
    vocabularies.train(['ab ab'], 7, cased=False)
  assert vocabularies.train(['ab ab'], 8, cased=False)[5:] == ['a', 'b', '##b']


def test_training_says_how_much_of_its_size_is_never_used(capsys):
  vocabularies.train(['ab ab'], 9, cased=False)  # with ab
  assert not capsys.readouterr().out
  assert len(vocabularies.train(['ab ab'], 3000, cased=False)) == 3000
  assert (
    'yields 9 tokens, so the rest of VOCAB_SIZE 3,0' in capsys.readouterr().out
  )


def test_training_refuses_texts_without_words():
  with pytest.raises(UserError, match='TEXT_FILES'):
    vocabularies.train([' ', '\0'], 100, cased=False)


@pytest.mark.parametrize('more', [[], ['[unused0]']])
def test_a_vocabulary_without_words_is_refused(more):
  with pytest.raises(UserError, match='of special tokens only; set VOCAB_FILE'):
    vocabularies.BertVocabulary([*SPECIAL_TOKENS, *more], cased=False)
