import pytest
import tokenizers

from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS, write

TOKENS = [*SPECIAL_TOKENS, 'un', '##able', 'a', '[', ']', 'mask', '##k', '中']


def test_ids_are_those_of_the_reference_tokenizer():
  tokenizer = Tokenizer(TOKENS, cased=False)
  reference = tokenizers.BertWordPieceTokenizer(
    {token: i for i, token in enumerate(TOKENS)}, lowercase=True
  )
  texts = ['unable a', 'UNABLE Á', '', '中a', 'a' * 101, 'zzz', 'a\u0301 a\ta']
  rows, cut = zip(*tokenizer.rows(texts, length=50), strict=True)
  assert [row.ids for row in rows] == [
    reference.encode(text).ids for text in texts
  ]
  assert not any(cut) and all(row.second is None for row in rows)


@pytest.mark.parametrize('length', [5, 6, 7, 9, 12, 40])
def test_pairs_are_those_of_the_reference_tokenizer(length):
  tokenizer = Tokenizer(TOKENS, cased=False)
  reference = tokenizers.BertWordPieceTokenizer(
    {token: i for i, token in enumerate(TOKENS)}, lowercase=True
  )
  pairs = [
    ('a', 'unable a'),
    ('', 'a'),
    ('a ' * 8, 'un ' * 9),
    ('a ' * 9, 'un'),
    ('a', 'un ' * 9),
    ('a ' * 5, 'un ' * 4),
  ]
  rows, cut = zip(*tokenizer.rows(pairs, length), strict=True)
  assert [*cut] == [len(reference.encode(*pair).ids) > length for pair in pairs]
  for row, (a, b) in zip(rows, pairs, strict=True):
    a, b = (reference.encode(x, add_special_tokens=False).ids for x in (a, b))
    while len(a) + len(b) > length - 3:  # google-research/bert
      (a if len(a) > len(b) else b).pop()
    assert row.ids == [2, *a, 3, *b, 3]
    assert row.second == len(a) + 2


def test_a_mask_in_a_text_is_special_only_where_it_is_asked_for():
  tokenizer = Tokenizer(TOKENS, cased=False)
  ((plain, _),) = tokenizer.rows(['a [MASK]'], length=50)
  ((masked, _),) = tokenizer.rows(['a [MASK]'], length=50, masks=True)
  mask = TOKENS.index('[MASK]')
  assert mask not in plain.ids and masked.ids[2] == mask
  assert [TOKENS[i] for i in plain.ids] == [
    '[CLS]',
    'a',
    '[',
    'mask',
    ']',
    '[SEP]',
  ]


def test_long_texts_are_cut_and_counted():
  rows = Tokenizer(TOKENS, cased=False).rows(['a ' * 9, 'a'], length=5)
  assert [(len(row.ids), cut) for row, cut in rows] == [(5, True), (3, False)]
  assert rows[0][0].ids[-1] == TOKENS.index('[SEP]')


def test_what_a_run_wrote_decides_on_case(tmp_path):
  write([*TOKENS, 'b'], str(tmp_path / 'vocab.txt'), cased=True)
  assert Tokenizer.load(str(tmp_path)).cased
