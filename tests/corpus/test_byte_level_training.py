"""Training from counts of words against the library's, from the text itself."""

import functools
import json
import pydoc_data.topics

import pyarrow
import pytest
import tokenizers

from bertjax.corpus import (
  byte_level_training,
  kept_text,
  sentences,
  spool,
)
from bertjax.corpus.document_files import TextFiles
from bertjax.corpus.preparation import prepare
from bertjax.corpus.wordpiece_training import Training, WordCounts
from bertjax.errors import UserError
from bertjax.text import vocabulary_file
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

TEXTS = [
  ' '.join(text.split()) for text in [*pydoc_data.topics.topics.values()][:20]
] + ["Le café naïve – 東京  is  it's 1990."] * 3


def train(texts, size=600, cased=True):
  counts = byte_level_training.count_words(texts, cased)
  return byte_level_training.train(Training(size, cased, 2, 'bpe'), counts)


def library(texts, size=600, lowercase=False):
  """Returns tokens and merges of the library's trainer in memory."""
  peer = tokenizers.ByteLevelBPETokenizer(lowercase=lowercase)
  peer.train_from_iterator(
    texts, size, special_tokens=[*SPECIAL_TOKENS], show_progress=False
  )
  model = json.loads(peer.to_str())['model']
  return sorted(model['vocab'], key=model['vocab'].get), model['merges']


@pytest.mark.parametrize('cased', [True, False])
def test_the_vocabulary_is_that_of_the_library_in_memory(cased):
  vocabulary = train(TEXTS, cased=cased)
  tokens, merges = library(TEXTS, lowercase=not cased)
  assert list(vocabulary.tokens) == tokens and len(tokens) == 600
  found = json.loads(vocabulary.rules)['merges']
  assert [x.split(' ') for x in found] == merges
  assert vocabulary.cased == cased


def test_a_corpus_has_the_vocabulary_of_its_running_text(tmp_path):
  path = tmp_path / 'text.txt'
  path.write_text('\n\n'.join(text.replace('. ', '.\n') for text in TEXTS))
  prepared = prepare(
    TextFiles(str(path)), str(tmp_path), Training(600, True, 2, 'bpe'), 0.0
  )
  tokens, _ = library(TEXTS)
  assert max(map(len, TEXTS)) < spool.PIECE_BYTES
  assert list(prepared.vocabulary.tokens) == tokens
  assert vocabulary_file.load(f'{prepared.path}/tokenizer.json')[0] == tokens
  assert prepared.index['unknown'] == 0


def test_counted_words_are_those_that_get_ids():
  text = '好。“It is.” So he said！Yes. No.'
  batch = pyarrow.record_batch(
    {'document': [7], 'piece': pyarrow.array([0]), 'text': [text]}
  )
  counts = kept_text.counted(kept_text.counter(True, 0, 'bpe')(batch))
  lines = sentences.split(text)
  assert lines.count('\n') > 2
  assert counts == byte_level_training.count_words([lines], True)
  assert counts != byte_level_training.count_words([text], True)


def test_long_strings_are_not_remembered(monkeypatch):
  remembered = []
  original = functools.lru_cache

  def lru_cache(size):
    def wrap(function):
      remembered.append(original(size)(function))
      return remembered[-1]

    return wrap

  monkeypatch.setattr(functools, 'lru_cache', lru_cache)
  byte_level_training._splitter.cache_clear()
  lines = ['字' * 64, '字' * 65, '好' * 1000]
  counts = byte_level_training.count_words(lines, True)
  byte_level_training._splitter.cache_clear()
  assert len(counts) == 3
  assert [x.cache_info().currsize for x in remembered] == [1]


def test_training_does_not_depend_on_chance_order_or_parts():
  first = train(TEXTS)
  assert train(TEXTS[::-1]) == first
  counts = WordCounts()
  for text in TEXTS:
    counts.add(byte_level_training.count_words([text], True))
  wanted = Training(600, True, 2, 'bpe')
  assert byte_level_training.train(wanted, counts.counts) == first


def test_a_vocabulary_has_all_bytes_and_says_what_is_never_used(capsys):
  vocabulary = train(['ab ab ab'], 270)
  assert len(vocabulary.tokens) == 270
  assert vocabulary.tokens[261:264] == ('ab', 'Ġab', '[unused0]')
  assert 'yields 263 tokens' in capsys.readouterr().out


def test_training_refuses_a_size_below_the_bytes():
  with pytest.raises(UserError, match='VOCAB_SIZE of at least 261 .*got 260'):
    Training(260, True, 2, 'bpe')
  assert Training(260) and Training(261, True, 2, 'bpe')
  with pytest.raises(UserError, match="'wordpiece' or 'bpe'.*sentencepiece"):
    Training(300, True, 2, 'sentencepiece')


def test_training_refuses_texts_without_words():
  with pytest.raises(UserError, match='TEXT_FILES'):
    train([''])


def test_wordpiece_has_the_key_that_it_had():
  assert Training(300, True).key() == (300, True, 2)
  assert Training(300, True, 2, 'bpe').key() == (300, True, 2, 'bpe')
