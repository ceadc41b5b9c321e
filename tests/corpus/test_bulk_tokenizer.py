"""The tokenizer of much text against the reference, on all of Unicode."""

import argparse
import ast
import inspect
import itertools
import json
import pydoc_data.topics
import sys
import unicodedata
import unittest.mock

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.corpus import bulk_tokenizer, sentences
from bertjax.corpus.bulk_tokenizer import BulkTokenizer
from bertjax.text import byte_level
from bertjax.text.tokenizer import Tokenizer
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


# Lower-casing and accents, where differences hide, are those of the uncased.
@pytest.fixture(
  scope='module',
  params=[False, pytest.param(True, marks=pytest.mark.slow)],
  ids=['uncased', 'cased'],
)
def vocabulary(request):
  """Holds every character, so that no difference hides in an [UNK]."""
  held = [c for c in ASSIGNED if unicodedata.category(c) != 'Co']
  return Tokenizer(
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


def encode(vocabulary, lines):
  """Returns the ids of each line. Clean text holds no NUL."""
  texts = [line.replace('\0', '') for line in lines]
  return [x.tolist() for x, _ in BulkTokenizer(vocabulary).encode(texts)]


def assert_equal(vocabulary, reference, lines):
  expected = reference.encode_batch(lines, add_special_tokens=False)
  found = encode(vocabulary, lines)
  for line, row, e in zip(lines, found, expected, strict=True):
    assert row == e.ids, ascii(line)


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
  assert_equal(
    vocabulary,
    reference,
    [
      ' '.join(f'{c} ab{c}cd {c}abc abc{c}' for c in ASSIGNED[i : i + 64])
      for i in range(0, len(ASSIGNED), 64)
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
  assert encode(vocabulary, [letter * 201]) == [[1]]


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
  assert all(min(ids) >= 5 for ids in encode(vocabulary, texts))
  mask = 'MASK' if vocabulary.cased else 'mask'
  assert [vocabulary.tokens[i] for i in encode(vocabulary, ['[MASK]'])[0]] == [
    '[',
    mask,
    ']',
  ]


@pytest.mark.parametrize('text', ['The end. ', 'naïve café ', 'x'])
def test_a_line_of_ten_megabytes_is_tokenized(vocabulary, text):
  times = 10_000_000 // len(text)
  (ids,) = encode(vocabulary, [text * times])
  (once,) = encode(vocabulary, [text])
  assert ids == (once * times if text.endswith(' ') else [1])


def test_ends_of_sentences_are_counted_in_tokens():
  tokenizer = Tokenizer([*SPECIAL_TOKENS, 'a', 'b', '.'], cased=False)
  texts = ['a b .\nb\n\n \na a', '', 'b', '\n', '中\n中 a']
  found = BulkTokenizer(tokenizer).encode(texts)
  assert [x.tolist() for x, _ in found] == [
    [5, 6, 7, 6, 5, 5],
    [],
    [6],
    [],
    [1, 1, 5],
  ]
  assert [x.tolist() for _, x in found] == [[3, 4, 6], [], [1], [], [1, 3]]


def test_forgetting_words_changes_no_id(monkeypatch):
  lines = '\n'.join(pydoc_data.topics.topics.values()).split('\n')
  tokens = [*SPECIAL_TOKENS, *'abcdefghijklmnopqrstuvwxyz.,', 'the']
  tokenizer = Tokenizer(tokens, cased=False)
  wanted = encode(tokenizer, lines)
  monkeypatch.setattr(bulk_tokenizer, '_MOST_WORDS', 100)
  small = BulkTokenizer(tokenizer)
  found = []
  for i in range(0, len(lines), 50):
    found += [x.tolist() for x, _ in small.encode(lines[i : i + 50])]
    assert len(small._numbers) < 3000
  assert found == wanted


@pytest.mark.parametrize('size, dtype', [(65536, 'uint16'), (65537, 'uint32')])
def test_ids_take_two_bytes_where_they_can(size, dtype):
  tokens = [*SPECIAL_TOKENS, *(f't{i}' for i in range(size - 5))]
  tokenizer = BulkTokenizer(Tokenizer(tokens, cased=False))
  ((ids, _),) = tokenizer.encode([f't{size - 6} t0'])
  assert ids.tolist() == [size - 1, 5] and ids.dtype == dtype


BPE_TROUBLE = TROUBLE + "\t\u00a0\u3000\x1c\x85'st1½"


@pytest.fixture(scope='module', params=[False, True], ids=['plain', 'prefix'])
def byte_level_tokenizer(request):
  """Has NFC, lower case, and runs of spaces as tokens, as ModernBERT has."""
  peer = tokenizers.ByteLevelBPETokenizer(
    lowercase=True, unicode_normalizer='nfc', add_prefix_space=request.param
  )
  peer.train_from_iterator(
    pydoc_data.topics.topics.values(),
    500,
    special_tokens=[*SPECIAL_TOKENS],
    show_progress=False,
  )
  peer.add_tokens(['  ', '    '])
  parts = byte_level.read(json.loads(peer.to_str()), 'tokenizer.json')
  tokenizer = Tokenizer(*parts)
  return tokenizer, BulkTokenizer(tokenizer)


def assert_running(pair, lines):
  """Compares a text of these lines with the library, of the text in a row."""
  tokenizer, bulk = pair
  (found, ends), _ = bulk.encode(['\n'.join(lines), 'x'])
  (wanted,) = tokenizer.pieces([' '.join(lines)])
  assert found.tolist() == wanted.ids, ascii(lines)
  assert len(ends) <= len(lines)


def test_bpe_ids_are_those_of_running_text(byte_level_tokenizer):
  for text in pydoc_data.topics.topics.values():
    lines = [line.strip() for line in text.split('\n') if line.strip()]
    assert_running(byte_level_tokenizer, lines)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text() | st.text(BPE_TROUBLE), min_size=1, max_size=6))
def test_bpe_ids_are_those_of_any_running_text(byte_level_tokenizer, lines):
  clean = [' '.join(x.replace('\0', '').split('\n')).strip() for x in lines]
  lines = [x for x in clean if x and x[-1] not in '。！？」』”’）']
  if lines:
    assert_running(byte_level_tokenizer, lines)


@pytest.mark.parametrize(
  'text', ['好。好吗', ' 好。” x好！”x', '好。  x好。\u3000x', 'it。“is”。it']
)
def test_bpe_puts_no_space_after_a_wide_end(byte_level_tokenizer, text):
  tokenizer, bulk = byte_level_tokenizer
  ((found, _),) = bulk.encode([sentences.split(text)])
  assert found.tolist() == tokenizer.pieces([text])[0].ids


def test_bpe_of_no_texts_is_empty(byte_level_tokenizer):
  assert byte_level_tokenizer[1].encode([]) == []


def test_bpe_ends_of_sentences_are_counted_in_tokens(byte_level_tokenizer):
  tokenizer, bulk = byte_level_tokenizer
  texts = ['it is.\nso\n\nas', '', '東。\n京', '\nit']
  found = bulk.encode(texts)
  for (ids, ends), spelt in zip(
    found,
    [['it is.', ' so', ' as'], [], ['東。', '京'], [' it']],
    strict=True,
  ):
    parts = [x.ids for x in tokenizer.pieces(spelt)]
    if '京' in spelt:  # within a text nothing goes in front of it
      parts[1] = tokenizer.pieces([''.join(spelt)])[0].ids[len(parts[0]) :]
    assert ids.tolist() == [i for part in parts for i in part]
    assert ends.tolist() == list(itertools.accumulate(map(len, parts)))
