"""MinHash signatures estimate the Jaccard index."""

import numpy as np
import pytest

from bertjax.corpus import signatures, word_hashes


def texts_with_common(words, common, seed):
  """Two texts of `words` words that begin with the same `common`."""
  rng = np.random.default_rng(seed)
  made = [f'{word:x}' for word in rng.integers(1 << 60, size=3 * words)]
  rest = words - common
  one = made[:words]
  two = made[:common] + made[words : words + rest]
  return ' '.join(one), ' '.join(two)


def jaccard(one, two):
  def shingles(text):
    words = text.split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

  one, two = shingles(one), shingles(two)
  return len(one & two) / len(one | two)


@pytest.mark.parametrize('common', (160, 180, 190))
def test_similarity_estimates_the_jaccard_index_of_shingles(common):
  pairs = [texts_with_common(200, common, seed) for seed in range(60)]
  true = jaccard(*pairs[0])
  found = [
    signatures.similarity(*map(signatures.signature, pair)) for pair in pairs
  ]
  deviation = np.sqrt(true * (1 - true) / signatures.SIZE)
  assert abs(np.mean(found) - true) < 4 * deviation / np.sqrt(len(pairs))
  assert np.std(found) < 1.4 * deviation


def test_two_texts_share_a_band_as_often_as_the_formula_says():
  pairs = [texts_with_common(200, 160, seed) for seed in range(300)]
  true = jaccard(*pairs[0])
  shared = [
    bool(
      set(signatures.band_keys(signatures.signature(one)))
      & set(signatures.band_keys(signatures.signature(two)))
    )
    for one, two in pairs
  ]
  chance = 1 - (1 - true**signatures.ROWS) ** signatures.BANDS
  deviation = np.sqrt(chance * (1 - chance) / len(pairs))
  assert abs(np.mean(shared) - chance) < 4 * deviation


def test_texts_of_the_same_words_have_one_signature():
  one, two = map(
    signatures.signature, ('A cat sat; it slept.', 'a CAT SAT it slept')
  )
  assert one.dtype == np.uint32 and one.shape == (signatures.SIZE,)
  assert one.tolist() == two.tolist()


def test_short_texts_are_compared_as_a_whole():
  one, two, three, four = map(
    signatures.signature, ('A cat.', 'a cat', 'A dog.', '')
  )
  assert signatures.similarity(one, two) == 1
  assert signatures.similarity(one, three) < 0.1
  assert signatures.similarity(one, four) < 0.1


def test_texts_without_words_are_alike_only_if_they_are_the_same():
  one, two, three = map(signatures.signature, ('***', '---', '* * *'))
  assert signatures.similarity(one, two) < 0.1
  assert signatures.similarity(one, one) == 1
  assert signatures.similarity(one, three) < 0.1


def test_keys_of_different_bands_never_meet():
  same = np.zeros(signatures.SIZE, np.uint32)
  keys = signatures.band_keys(same)
  assert len(set(keys)) == signatures.BANDS
  hashes = signatures.band_hashes(same[None])
  assert keys[3][1:] == hashes[0, 3].astype('<u8').tobytes()


def test_a_long_text_has_the_signature_of_its_shingles(monkeypatch):
  text, _ = texts_with_common(3000, 3000, seed=0)
  whole = signatures.signature(text)
  for size in (20, 40, 1000):  # a piece may have fewer words than a shingle
    monkeypatch.setattr(word_hashes, '_PIECE', size)
    assert signatures.signature(text).tolist() == whole.tolist()
