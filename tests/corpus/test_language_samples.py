import sys

import pytest

from bertjax.corpus import language_samples, languages
from bertjax.text.vocabulary_file import SPECIAL_TOKENS
from tests.corpus.test_token_counts import corpus

ENGLISH = 'the committee will meet again on tuesday and decide about the budget'
GERMAN = 'der ausschuss trifft sich am dienstag und berät über den haushalt'


@pytest.fixture
def prepared(tmp_path):
  """30 documents, of which ten are German; of these no 'haushalt' is known."""
  words = sorted({*ENGLISH.split(), *GERMAN.split()} - {'haushalt', 'dienstag'})
  tokens = [*SPECIAL_TOKENS, *words, 'dien', '##stag', '.']
  documents = [[f'{GERMAN if i % 3 == 0 else ENGLISH}.'] for i in range(30)]
  return corpus(tmp_path, documents, tokens)


def test_words_tokens_and_unknown_ones_are_counted_by_language(prepared):
  pytest.importorskip('py3langid')
  found = language_samples.find(prepared, seed=0)
  assert found['language_texts'] == 30
  english, german = found['languages']
  count = len(ENGLISH.split())
  assert english == {
    'language': 'en',
    'share': 20 / 30,
    'words': 20 * count,
    'tokens': 20 * (count + 1),
    'tokens_a_word': 1.0,
    'unknown_share': 0.0,
  }
  count = len(GERMAN.split())
  assert (german['language'], german['share']) == ('de', 10 / 30)
  assert german['tokens_a_word'] == (count + 1) / count
  assert german['unknown_share'] == 1 / (count + 2)


def test_rare_languages_are_put_together(prepared, monkeypatch):
  pytest.importorskip('py3langid')
  monkeypatch.setattr(language_samples, '_FEWEST', 0.5)
  found = language_samples.find(prepared, seed=0)['languages']
  assert [x['language'] for x in found] == ['en', 'others']
  assert found[1]['words'] == 10 * len(GERMAN.split())


def test_without_the_library_nothing_is_said(prepared, monkeypatch):
  languages._identifier.cache_clear()
  monkeypatch.setitem(sys.modules, 'py3langid', None)
  found = language_samples.find(prepared, seed=0)
  assert found == {'language_texts': 0, 'languages': None}
