import pytest

from bertjax.text import byte_level, word_rows
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

TOKENS = [*SPECIAL_TOKENS, 'un', '##able', 'a', 'b', 'c', '-', '##k']


def make(*sentences, length):
  tokenizer = Tokenizer(TOKENS, cased=False)
  return word_rows.make(tokenizer, sentences, length)


def tokens(piece):
  return [TOKENS[i] for i in piece.row.ids]


def test_each_word_stands_at_its_first_token():
  ((piece,),) = make(['Unable', 'a-b', 'C'], length=20)
  assert tokens(piece) == ['[CLS]', 'un', '##able', 'a', '-', 'b', 'c', '[SEP]']
  assert piece.first == (1, 3, 6) and piece.start == 0


def test_words_of_bpe_have_a_space_in_front_but_for_the_first():
  letters = [*byte_level.alphabet(), 'ab', 'Ġab', 'Ġc']
  rules = byte_level.rules_of(['a b', 'Ġ ab', 'Ġ c'])
  tokenizer = Tokenizer([*SPECIAL_TOKENS, *letters], True, rules)
  ((piece,), (one, two)) = word_rows.make(
    tokenizer, [['ab', 'abc', 'c'], ['c', 'c', 'ab', 'ab', 'c']], 6
  )
  wanted = ['[CLS]', 'ab', 'Ġab', 'c', 'Ġc', '[SEP]']
  assert [tokenizer.tokens[i] for i in piece.row.ids] == wanted
  assert piece.first == (1, 2, 4)
  # A piece that goes on in a sentence is as it stands there.
  assert [tokenizer.tokens[i] for i in one.row.ids] == [
    '[CLS]',
    'c',
    'Ġc',
    'Ġab',
    '[SEP]',
  ]
  assert [tokenizer.tokens[i] for i in two.row.ids][1:-1] == ['Ġab', 'Ġc']


@pytest.mark.parametrize('word', ['\u0301', '\x07', '', ' ', '\u200b', 'zzz'])
def test_a_word_without_a_known_token_is_unknown(word):
  ((piece,),) = make(['a', word, 'b'], length=20)
  assert tokens(piece) == ['[CLS]', 'a', '[UNK]', 'b', '[SEP]']
  assert piece.first == (1, 2, 3)


def test_a_sentence_that_just_fits_is_one_piece():
  ((whole,), (one, two)) = make(['a'] * 6, ['a'] * 7, length=8)
  assert len(whole.row.ids) == 8
  assert (len(one.first), len(two.first)) == (4, 3) and two.start == 4


def test_long_sentences_become_pieces_of_about_the_same_size():
  (pieces,) = make(['a'] * 100, length=50)
  assert [len(piece.first) for piece in pieces] == [34, 34, 32]
  assert [piece.start for piece in pieces] == [0, 34, 68]


def test_no_piece_ends_within_a_word():
  (pieces,) = make(['un-able', 'a', 'unable', 'b', 'unable'], length=6)
  assert [tokens(piece)[1:-1] for piece in pieces] == [
    ['un', '-', '[UNK]'],
    ['a', 'un', '##able'],
    ['b', 'un', '##able'],
  ]


def test_a_word_longer_than_a_row_loses_its_last_tokens():
  (pieces,) = make(['a', 'b-' * 9, 'c'], length=6)
  assert [tokens(piece)[1:-1] for piece in pieces] == [
    ['a'],
    ['b', '-', 'b', '-'],
    ['c'],
  ]


def test_a_sentence_without_words_has_no_piece():
  assert make([], ['a'], length=8)[0] == []


@pytest.mark.parametrize('length', [3, 4, 5, 7, 11, 64])
def test_every_word_is_in_one_piece_and_they_keep_their_order(length):
  words = ['unable', 'a', 'b-c', '\u0301', 'a-b-c-a-b', 'c'] * 5
  sentences = make(words, words[:1], words[:7], length=length)
  for pieces, count in zip(sentences, (30, 1, 7), strict=True):
    assert all(len(piece.row.ids) <= length for piece in pieces)
    assert all(piece.row.ids[-1] == 3 for piece in pieces)
    places = [
      piece.start + i for piece in pieces for i in range(len(piece.first))
    ]
    assert places == list(range(count))
    initials = [tokens(piece)[i] for piece in pieces for i in piece.first]
    assert initials == (['un', 'a', 'b', '[UNK]', 'a', 'c'] * 5)[:count]
