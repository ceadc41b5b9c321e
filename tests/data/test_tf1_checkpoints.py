"""On a checkpoint that TensorFlow writes here, as google-research names it."""

import errno
import json
import os

import jax
import numpy as np
import pytest
import tensorflow as tf

from bertjax.data import tf1_checkpoints
from bertjax.errors import UserError
from bertjax.interop import huggingface, names
from bertjax.text import vocabulary_file
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

D, F, V, L = 8, 12, 20, 10


def variables(layers=2):
  """Names and shapes as `modeling.py` and `run_pretraining.py` make them."""
  yield from {
    'bert/embeddings/word_embeddings': (V, D),
    'bert/embeddings/position_embeddings': (L, D),
    'bert/embeddings/token_type_embeddings': (2, D),
    'bert/embeddings/LayerNorm/gamma': (D,),
    'bert/embeddings/LayerNorm/beta': (D,),
    'bert/pooler/dense/kernel': (D, D),
    'bert/pooler/dense/bias': (D,),
    'cls/predictions/transform/dense/kernel': (D, D),
    'cls/predictions/transform/dense/bias': (D,),
    'cls/predictions/transform/LayerNorm/gamma': (D,),
    'cls/predictions/transform/LayerNorm/beta': (D,),
    'cls/predictions/output_bias': (V,),
    'cls/seq_relationship/output_weights': (2, D),
    'cls/seq_relationship/output_bias': (2,),
  }.items()
  for i in range(layers):
    layer = f'bert/encoder/layer_{i}'
    for name, (into, out) in {
      'attention/self/query': (D, D),
      'attention/self/key': (D, D),
      'attention/self/value': (D, D),
      'attention/output/dense': (D, D),
      'intermediate/dense': (D, F),
      'output/dense': (F, D),
    }.items():
      yield f'{layer}/{name}/kernel', (into, out)
      yield f'{layer}/{name}/bias', (out,)
    for name in ('attention/output/LayerNorm', 'output/LayerNorm'):
      yield f'{layer}/{name}/gamma', (D,)
      yield f'{layer}/{name}/beta', (D,)


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / 'uncased'
  folder.mkdir()
  random = np.random.default_rng(0)
  values = {
    name: random.normal(size=shape).astype(np.float32)
    for name, shape in variables()
  }
  extra = {
    'bert/pooler/dense/kernel/adam_m': np.zeros((D, D), np.float32),
    'global_step': np.asarray(7),
  }
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    for name, value in (values | extra).items():
      tf.compat.v1.get_variable(name, initializer=value)
    session.run(tf.compat.v1.global_variables_initializer())
    tf.compat.v1.train.Saver().save(session, str(folder / 'bert_model.ckpt'))
  (folder / 'checkpoint').unlink()
  (folder / 'bert_config.json').write_text(
    json.dumps(
      {
        'attention_probs_dropout_prob': 0.1,
        'hidden_act': 'gelu',
        'hidden_dropout_prob': 0.1,
        'hidden_size': D,
        'initializer_range': 0.02,
        'intermediate_size': F,
        'max_position_embeddings': L,
        'num_attention_heads': 2,
        'num_hidden_layers': 2,
        'type_vocab_size': 2,
        'vocab_size': V,
      }
    )
  )
  (folder / 'vocab.txt').write_text(
    '\n'.join([*SPECIAL_TOKENS, *'abcdefghij']) + '\n'
  )
  return folder, values


def test_every_variable_finds_its_place(folder, tmp_path, capsys):
  folder, values = folder
  output = str(tmp_path / 'out')
  tf1_checkpoints.convert(source=str(folder), output=output)
  assert 'NOT used' not in capsys.readouterr().out
  found = huggingface.read(output)
  assert names.heads_of(found.parameters) == names.PRETRAINING
  layer = found.parameters['encoder']['layer_01']
  there = 'bert/encoder/layer_1'
  np.testing.assert_array_equal(
    layer['attention']['query']['kernel'].reshape(D, D),
    values[f'{there}/attention/self/query/kernel'],
  )
  np.testing.assert_array_equal(
    layer['feed_forward']['input']['kernel'],
    values[f'{there}/intermediate/dense/kernel'],
  )
  np.testing.assert_array_equal(
    layer['feed_forward_norm']['scale'],
    values[f'{there}/output/LayerNorm/gamma'],
  )
  np.testing.assert_array_equal(
    found.parameters['nsp_head']['kernel'].T,
    values['cls/seq_relationship/output_weights'],
  )
  numbers = sum(array.size for array in jax.tree.leaves(found.parameters))
  assert numbers == sum(value.size for value in values.values())


def test_nothing_is_left_where_writing_fails(folder, tmp_path, monkeypatch):
  folder, _ = folder
  source = str(folder)
  below = str(folder / 'vocab.txt' / 'out')
  with pytest.raises(UserError, match='vocab.txt is no folder; set OUTPUT'):
    tf1_checkpoints.convert(source=source, output=below, dry_run=True)

  def fail(path, *_, **__):
    raise OSError(errno.ENOSPC, 'No space left')

  monkeypatch.setattr(vocabulary_file, 'write', fail)
  output = str(tmp_path / 'out')
  with pytest.raises(UserError, match=f'{output}: No space left'):
    tf1_checkpoints.convert(source=source, output=output)
  assert os.listdir(tmp_path) == [folder.name]


def test_what_is_not_a_checkpoint_is_refused(folder, tmp_path):
  folder, _ = folder
  output = str(tmp_path / 'out')
  with pytest.raises(UserError, match='one checkpoint .* got none'):
    tf1_checkpoints.convert(source=str(tmp_path), output=output)
  for overwrite, message in ((False, 'holds something'), (True, 'the input')):
    with pytest.raises(UserError, match=message):
      tf1_checkpoints.convert(
        source=str(folder), output=str(folder), overwrite=overwrite
      )
  (folder / 'bert_config.json').unlink()
  with pytest.raises(UserError, match='bert_config.json, which is not there'):
    tf1_checkpoints.convert(source=str(folder), output=output)
  (folder / 'bert_config.json').write_text('{"num_hidden_layers": 3}')
  with pytest.raises(UserError, match='lacks 16 of its tensors'):
    tf1_checkpoints.convert(source=str(folder), output=output)
