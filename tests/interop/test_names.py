"""The table of names is complete, and both directions undo each other."""

import dataclasses

import jax
import numpy as np
import pytest

from bertjax import batch
from bertjax.errors import UserError
from bertjax.interop import names
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig

CONFIG = EncoderConfig(
  vocabulary_size=60,
  width=12,
  layers=11,
  heads=3,
  feed_forward=20,
  positions=9,
  types=4,
)


def make_params(next_sentence=True):
  """Returns parameters of the model's own shapes, every number another."""
  example = batch.synthetic(
    batch_size=1, length=8, predictions=2, vocabulary_size=60, seed=0
  )
  model = BertForPreTraining(CONFIG, next_sentence)
  boxed = jax.eval_shape(
    lambda: model.init(jax.random.key(0), example, train=False)
  )['params']
  leaves, structure = jax.tree.flatten(boxed)  # boxes are nodes of the tree
  shapes = [leaf.shape for leaf in leaves]
  ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
  numbers = np.split(np.arange(ends[-1], dtype=np.float32), ends[:-1])
  arrays = [
    array.reshape(shape) for array, shape in zip(numbers, shapes, strict=True)
  ]
  return jax.tree.map(
    lambda box: box.value,
    jax.tree.unflatten(structure, arrays),
    is_leaf=lambda node: hasattr(node, 'names'),
  )


@pytest.mark.parametrize('next_sentence', [True, False])
def test_there_and_back_is_the_identity(next_sentence):
  parameters = make_params(next_sentence)
  tensors = names.to_huggingface(parameters, CONFIG)
  back = names.from_huggingface(tensors, CONFIG, names.heads_of(parameters))
  assert jax.tree.structure(back) == jax.tree.structure(parameters)
  jax.tree.map(np.testing.assert_array_equal, back, parameters)


def test_heads_lie_one_after_the_other_in_a_tensor():
  parameters = make_params()
  tensors = names.to_huggingface(parameters, CONFIG)
  attention = parameters['encoder']['layer_10']['attention']
  theirs = 'bert.encoder.layer.10.attention'
  head, within, width = 2, 1, 7
  row = head * CONFIG.head_width + within
  assert (
    tensors[f'{theirs}.self.key.weight'][row, width]
    == attention['key']['kernel'][width, head, within]
  )
  assert (
    tensors[f'{theirs}.self.key.bias'][row]
    == attention['key']['bias'][head, within]
  )
  assert (
    tensors[f'{theirs}.output.dense.weight'][width, row]
    == attention['output']['kernel'][head, within, width]
  )


def test_heads_are_read_where_they_are_asked_for():
  tensors = names.to_huggingface(make_params(), CONFIG)
  parameters = names.from_huggingface(tensors, CONFIG, ['mlm_head'])
  assert names.heads_of(parameters) == ('mlm_head',)


def test_missing_tensors_and_unknown_parameters_are_refused_by_name():
  tensors = names.to_huggingface(make_params(), CONFIG)
  del tensors['bert.pooler.dense.bias']
  with pytest.raises(UserError, match=r'lacks 1 .* \(bert.pooler.dense.bias\)'):
    names.from_huggingface(tensors, CONFIG, names.PRETRAINING)
  smaller = dataclasses.replace(CONFIG, layers=10)
  with pytest.raises(UserError, match='16 unknown'):
    names.to_huggingface(make_params(), smaller)


def test_parameters_of_another_size_are_refused_by_name():
  other = dataclasses.replace(CONFIG, positions=10)
  with pytest.raises(UserError, match=r'embeddings/position.*\[9, 12\]'):
    names.to_huggingface(make_params(), other)


def test_tensors_of_another_size_are_refused_by_name():
  tensors = names.to_huggingface(make_params(), CONFIG)
  larger = dataclasses.replace(CONFIG, vocabulary_size=64)
  with pytest.raises(
    UserError,
    match=r'word_embeddings.weight of shape '
    r'\[64, 12\], got \[60, 12\]',
  ):
    names.from_huggingface(tensors, larger, names.PRETRAINING)


def test_quantized_tensors_are_refused_by_name():
  tensors = names.to_huggingface(make_params(), CONFIG)
  name = 'bert.pooler.dense.weight'
  tensors[name] = tensors[name].astype(np.int8)
  with pytest.raises(UserError, match=f'{name} to be one of .*, got int8'):
    names.from_huggingface(tensors, CONFIG, names.PRETRAINING)
