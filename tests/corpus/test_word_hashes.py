"""Words and n-grams as hashes."""

import hashlib

import numpy as np
import pytest

from bertjax.corpus import word_hashes


def test_case_punctuation_and_white_space_do_not_count():
  one = word_hashes.of('The “cat” — sat.\nIt slept')
  two = word_hashes.of('the CAT, sat: (it)   SLEPT!')
  assert one.tolist() == two.tolist()


def test_vowels_of_hindi_are_inside_words():
  assert len(word_hashes.split('नया पुल बनेगा।')) == 3


def test_characters_of_chinese_and_japanese_are_words():
  assert word_hashes.split('新桥2号') == ['新', '桥', '2', '号']
  assert word_hashes.split('橋をABC') == ['橋', 'を', 'abc']
  assert word_hashes.has_words_of_one_character('a 新')
  assert not word_hashes.has_words_of_one_character('новый мост')


@pytest.mark.parametrize('n', range(1, 14))
def test_ngrams_are_equal_where_n_words_in_a_row_are(n):
  rng = np.random.default_rng(n)
  words = [f'w{number}' for number in rng.integers(2, size=300)]
  found = word_hashes.ngrams(word_hashes.of(' '.join(words)), n)
  expected = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
  assert len(found) == len(expected)
  assert len(set(found.tolist())) == len(set(expected))
  assert len(set(zip(found.tolist(), expected, strict=True))) == len(
    set(expected)
  )


def test_a_text_shorter_than_an_ngram_has_none():
  assert not len(word_hashes.ngrams(word_hashes.of('three words here'), 4))


def test_a_long_text_has_the_words_of_its_parts(monkeypatch):
  text = ' '.join(f'word{i},' for i in range(3000)) + '\nthe end'
  whole = word_hashes.of(text)
  monkeypatch.setattr(word_hashes, '_PIECE', 100)
  assert word_hashes.of(text).tolist() == whole.tolist()


def test_text_without_spaces_is_cut_all_the_same(monkeypatch):
  monkeypatch.setattr(word_hashes, '_PIECE', 10)
  assert ''.join(word_hashes.pieces('a' * 95)) == 'a' * 95


def test_hashes_are_the_same_in_every_process():
  # Beam's workers and those of a pool compare them.
  digest = hashlib.blake2b(b'cat', digest_size=8).digest()
  expected = int.from_bytes(digest, 'little')
  assert word_hashes.of('CAT').tolist() == [expected]


def test_lone_surrogates_do_no_harm():
  assert len(word_hashes.of('a \ud800 b')) >= 2
