"""The vocabulary for seqio; its ids are tested in tests/corpus."""

import pickle

import pytest
import seqio
import tensorflow as tf

from bertjax.data.vocabularies import BertVocabulary
from bertjax.text import byte_level
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS


def small(*tokens, cased=False):
  return BertVocabulary([*SPECIAL_TOKENS, *tokens], cased)


def test_ids_are_those_of_training_in_python_and_in_graphs():
  vocabulary = small('the', 'e', '##nd', 'a', '中', 'b')
  for text in ('the end', 'é 中a', 'x\0 b\nb', ''):
    ids = vocabulary.encode(text)
    assert vocabulary.encode_tf(text).numpy().tolist() == ids
    assert vocabulary.encode_tf(['b', text]).to_list() == [[10], ids]
  assert vocabulary.encode('The é中') == [5, 6, 9]


def test_bytes_that_are_not_utf8_are_passed_over():
  vocabulary = small('a', 'b')
  ids = vocabulary.encode_tf([b'a\xff b', b'\xe4\xb8 a', b'\xed\xa0\x80', b'b'])
  a, b = vocabulary.encode('a b')
  assert ids.to_list() == [[a, b], [a], [], [b]]


def test_data_sets_share_a_vocabulary_and_resume(tmp_path):
  # One line for each way of the tokenizer.
  vocabulary = small('the', 'e', '##nd', 'a', '##\u1b44', '\U0001d165', 'b')
  texts = ['the end', 'é \u1b44', '\U0001d165 a', 'b']

  def iterator():
    return iter(
      tf.data.Dataset.from_tensor_slices(texts)
      .batch(2)
      .map(vocabulary.encode_tf, num_parallel_calls=2)
    )

  first, second = iterator(), iterator()
  next(first)
  path = tf.train.Checkpoint(it=first).write(str(tmp_path / 'it'))
  tf.train.Checkpoint(it=second).read(path)
  expected = [vocabulary.encode(text) for text in texts[2:]]
  assert next(first).to_list() == next(second).to_list() == expected


def test_shapes_and_dtypes_are_those_of_seqio():
  vocabulary = small('a', '##b', '[unused0]')
  one, many = vocabulary.encode_tf('abb a'), vocabulary.encode_tf(['abb', ''])
  assert one.dtype == many.dtype == tf.int32
  assert one.shape == [4] and many.shape == [2, None]
  assert isinstance(vocabulary, seqio.Vocabulary)
  assert vocabulary.vocab_size == 8 and vocabulary.eos_id is None
  with pytest.raises(ValueError, match=r'\[lines\]'):
    vocabulary.encode_tf([['a']])


def test_decoding_joins_pieces():
  vocabulary = small('un', '##able', '.')
  ids = [2, 5, 6, 7, 3]
  assert vocabulary.decode(ids) == '[CLS] unable . [SEP]'
  texts = vocabulary.decode_tf(tf.constant([ids, ids[::-1]]))
  assert texts.numpy().tolist() == [
    b'[CLS] unable . [SEP]',
    b'[SEP] .able un [CLS]',
  ]


def test_vocabularies_are_equal_by_content():
  used = small('a')
  assert used.encode_tf(['a', 'é']).to_list() == [[5], [1]]
  assert small('a') == small('a') == pickle.loads(pickle.dumps(used))
  assert hash(small('a')) == hash(small('a'))
  assert small('a') != small('b') and small('a') != small('a', cased=True)


def test_byte_level_ids_are_those_of_the_tokenizer_in_python_and_graphs():
  tokens = [*SPECIAL_TOKENS, *byte_level.alphabet(), 'th', 'the', 'Ġthe']
  parts = tokens, True, byte_level.rules_of(['t h', 'th e', 'Ġ the'])
  vocabulary = pickle.loads(pickle.dumps(BertVocabulary(*parts)))
  assert vocabulary == BertVocabulary(*parts)
  tokenizer = Tokenizer(*parts)
  texts = ['the  the é\n 中', ' x\ty', '']
  wanted = [x.ids for x in tokenizer.pieces(texts)]
  assert [vocabulary.encode(x) for x in texts] == wanted
  assert vocabulary.encode_tf(texts).to_list() == wanted
  assert vocabulary.decode(wanted[0]) == texts[0]
  spelt = vocabulary.decode_tf(tf.constant([wanted[0]]))
  assert [x.decode() for x in spelt.numpy()] == [texts[0]]
