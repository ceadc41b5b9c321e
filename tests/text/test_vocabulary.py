import pytest

from bertjax.errors import UserError
from bertjax.text.vocabulary import Vocabulary
from bertjax.text.vocabulary_file import SPECIAL_TOKENS


def small(*tokens, cased=False):
  return Vocabulary([*SPECIAL_TOKENS, *tokens], cased)


def test_tokens_are_told_by_their_kinds():
  vocabulary = small('a', '##b', '[unused0]')
  assert vocabulary.continuation.tolist() == [False] * 6 + [True, False]
  assert vocabulary.special.tolist() == [True] * 5 + [False] * 3
  assert vocabulary.replacements.tolist() == [5, 6]


def test_vocabularies_are_equal_by_content():
  assert small('a') == small('a') and hash(small('a')) == hash(small('a'))
  assert small('a') != small('b') and small('a') != small('a', cased=True)


@pytest.mark.parametrize('more', [[], ['[unused0]']])
def test_a_vocabulary_without_words_is_refused(more):
  with pytest.raises(UserError, match='of special tokens only; set VOCAB_FILE'):
    small(*more)
