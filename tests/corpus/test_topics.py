import numpy as np

from bertjax.corpus import topics
from bertjax.text.vocabulary_file import SPECIAL_TOKENS
from tests.corpus.test_token_counts import corpus

THEMES = [
  'ship captain sail harbour anchor deck'.split(),
  'court judge appeal trial lawyer verdict'.split(),
]
COMMON = 'the and was'.split()


def themed(folder, count):
  """Documents of which each is of one theme, a quarter of the first."""
  rng = np.random.default_rng(0)
  documents = [
    [' '.join(rng.choice([*THEMES[i % 4 > 0], *COMMON], 60))]
    for i in range(count)
  ]
  words = [word for theme in THEMES for word in theme]
  return corpus(folder, documents, [*SPECIAL_TOKENS, *words, *COMMON])


def test_planted_themes_are_told_apart(tmp_path, monkeypatch):
  monkeypatch.setattr(topics, 'TOPICS', 2)
  monkeypatch.setattr(topics, '_MOST_COMMON', 0.8)
  found = topics.find(themed(tmp_path, 80), seed=0)
  assert found['texts'] == 80
  larger, smaller = found['topics']
  assert set(larger['words'][:6]) == set(THEMES[1])
  assert set(smaller['words'][:6]) == set(THEMES[0])
  assert (larger['share'], smaller['share']) == (0.75, 0.25)


def test_few_texts_and_texts_of_the_same_words_have_no_topics(tmp_path):
  (tmp_path / 'few').mkdir()
  found = topics.find(themed(tmp_path / 'few', 9), seed=0)
  assert found == {'texts': 9, 'topics': []}
  (tmp_path / 'same').mkdir()
  tokens = [*SPECIAL_TOKENS, 'cat', 'mat']
  same = corpus(tmp_path / 'same', [['cat mat']] * 40, tokens)
  assert topics.find(same, seed=0) == {'texts': 40, 'topics': []}


def test_texts_are_bounded_in_number_and_length(tmp_path, monkeypatch):
  monkeypatch.setattr(topics, 'TEXTS', 20)
  monkeypatch.setattr(topics, 'WORDS', 7)
  texts = topics._sample(themed(tmp_path, 80), seed=0)
  assert len(texts) == 20
  assert {len(text.split()) for text in texts} == {7}
