"""A token table padded to a multiple: the same model, no padding predicted."""

import dataclasses

import jax
import numpy as np
import pytest

from bertjax import batch
from bertjax.errors import UserError
from bertjax.interop import names
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.training import objectives

PLAIN = EncoderConfig(
  vocabulary_size=50,
  width=16,
  layers=1,
  heads=2,
  feed_forward=32,
  positions=16,
  dropout=0.0,
)
PADDED = dataclasses.replace(PLAIN, vocabulary_multiple=64)


@pytest.fixture(params=[True, False], ids=['tied', 'untied'])
def models(request):
  """Returns (config, parameters, loss, gradient) of both, the same weights."""
  plain, padded = (
    dataclasses.replace(config, tied_decoder=request.param)
    for config in (PLAIN, PADDED)
  )
  example = batch.synthetic(2, 16, 3, 50, seed=0)
  parameters = jax.tree.map(
    lambda box: box.unbox(),
    BertForPreTraining(plain).init(jax.random.key(0), example, train=False)[
      'params'
    ],
    is_leaf=lambda x: hasattr(x, 'unbox'),
  )
  found = []
  for config, values in (
    (plain, parameters),
    (padded, names.fit_vocabulary(parameters, padded)),
  ):
    objective = objectives.MaskedLanguageModel(BertForPreTraining(config))

    def loss(values, objective=objective):
      return objective(values, example, None, train=False)['mlm_loss'][0]

    found.append((config, values, *jax.value_and_grad(loss)(values)))
  return found


def test_loss_and_gradients_do_not_change(models):
  (_, _, loss, gradient), (config, values, padded_loss, padded) = models
  assert config.vocabulary_rows == 64
  assert values['embeddings']['token']['embedding'].shape == (64, 16)
  np.testing.assert_allclose(padded_loss, loss, rtol=1e-6)
  table = np.asarray(padded['embeddings']['token']['embedding'])
  np.testing.assert_array_equal(table[50:], 0)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a[: len(b)], b, atol=1e-5),
    padded,
    gradient,
  )


def test_padding_is_never_predicted(models):
  _, (config, values, *_) = models
  values = jax.tree.map(np.asarray, values)
  values['mlm_head']['bias'] = values['mlm_head']['bias'].copy()
  values['mlm_head']['bias'][50:] = 1e6
  logits = BertForPreTraining(config).apply(
    {'params': values}, batch.synthetic(2, 16, 3, 50, seed=0), train=False
  )['mlm_logits']
  assert logits.shape[-1] == 64
  assert (np.argmax(logits, -1) < 50).all()
  np.testing.assert_array_equal(jax.nn.softmax(logits)[..., 50:], 0)


def test_a_hugging_face_directory_has_no_padding(models):
  (plain, parameters, *_), (padded, values, *_) = models
  tensors = names.to_huggingface(values, padded)
  expected = names.to_huggingface(parameters, plain)
  assert tensors.keys() == expected.keys()
  for name in tensors:
    np.testing.assert_array_equal(tensors[name], expected[name])
  again = names.from_huggingface(tensors, padded, names.PRETRAINING)
  jax.tree.map(np.testing.assert_array_equal, again, dict(values))


def test_a_multiple_of_nothing_is_refused():
  with pytest.raises(UserError, match='vocabulary_multiple'):
    dataclasses.replace(PLAIN, vocabulary_multiple=0)
