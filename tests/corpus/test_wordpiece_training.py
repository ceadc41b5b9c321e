import pytest

from bertjax.corpus import wordpiece_training
from bertjax.errors import UserError
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS


def train(texts, size, cased=False):
  counts = wordpiece_training.count_words(texts, cased)
  return wordpiece_training.train(counts, size)


TEXTS = ['The cats sat, the cats sit: cafés!', 'ab cd ef gh ij kl mn op'] * 3


def test_training_gives_distinct_tokens_special_ones_first():
  tokens = train(TEXTS, 200)
  assert len(tokens) == len(set(tokens)) == 200
  assert tokens[:5] == list(SPECIAL_TOKENS)
  assert {'cats', 'cafes', '##a', 'b'} - set(tokens) <= {'b'}
  assert tokens[-1].startswith('[unused') and '[unused0]' in tokens
  (encoding,) = Tokenizer(tokens, cased=False).pieces([' '.join(TEXTS)])
  assert 1 not in encoding.ids
  assert 'The' in train(TEXTS, 200, cased=True)


def test_training_does_not_depend_on_chance_or_order():
  # All pairs of letters tie; the library alone breaks ties at random.
  first = train(TEXTS, 50)
  assert all(
    train(texts, 50) == first
    for texts in (TEXTS, TEXTS[::-1], TEXTS, TEXTS[::-1])
  )


def test_characters_below_the_minimum_frequency_are_left_out():
  tokens = train(['aa aa', 'b\u1234'], 20)
  assert 'a' in tokens and not {'b', '\u1234'} & set(tokens)


def test_training_refuses_a_size_below_the_alphabet():
  with pytest.raises(UserError, match='VOCAB_SIZE to 8'):
    train(['ab ab'], 7)
  assert train(['ab ab'], 8)[5:] == ['a', 'b', '##b']


def test_training_says_how_much_of_its_size_is_never_used(capsys):
  train(['ab ab'], 9)  # with ab
  assert not capsys.readouterr().out
  assert len(train(['ab ab'], 3000)) == 3000
  assert (
    'yields 9 tokens, so the rest of VOCAB_SIZE 3,0' in capsys.readouterr().out
  )


def test_training_refuses_texts_without_words():
  with pytest.raises(UserError, match='TEXT_FILES'):
    train([' ', '\0'], 100)


def test_counts_in_parts_are_those_of_the_whole():
  whole = wordpiece_training.WordCounts()
  whole.add(wordpiece_training.count_words(TEXTS, cased=False))
  parts = wordpiece_training.WordCounts()
  for text in TEXTS:
    parts.add(wordpiece_training.count_words([text], cased=False))
  assert parts.counts == whole.counts
  assert whole.counts['cats'] == 6 and whole.counts['cafes'] == 3


def test_memory_is_bounded_by_forgetting_rare_words():
  counts = wordpiece_training.WordCounts(most=100)
  for number in range(1000):
    counts.add({'often': 3, 'again': 2, f'once{number}': 1})
  assert len(counts.counts) <= 101
  assert counts.counts['often'] == 3000 and counts.counts['again'] == 2000


def test_huge_counts_are_divided_and_small_ones_are_not(monkeypatch):
  counts = {'ab': 4, 'cd': 2, 'e': 8}
  repeat = wordpiece_training.repeat
  assert ' '.join(repeat(counts)).split().count('ab') == 4
  monkeypatch.setattr(wordpiece_training, '_MOST_WORDS', 10)
  words = ' '.join(repeat(counts)).split()
  assert [words.count(word) for word in counts] == [2, 1, 4]
