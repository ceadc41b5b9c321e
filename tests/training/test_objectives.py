"""The losses of tasks, against numpy."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from bertjax import batch
from bertjax.errors import UserError
from bertjax.models import bert
from bertjax.models.config import EncoderConfig
from bertjax.runs import model_file
from bertjax.tasks import kinds
from bertjax.training import objectives, parts
from bertjax.training.abstract_objective import (
  Objective,
  apply_model,
  cross_entropy,
)
from bertjax.training.task_objective import TaskObjective

RNG = np.random.default_rng(0)


def softmax_losses(logits, labels):
  logits = logits - logits.max(axis=-1, keepdims=True)
  log = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
  return -np.take_along_axis(log, labels[..., None], -1)[..., 0]


TRAINED = [kind for kind in kinds.KINDS.values() if kind.loss]


class Model:
  """Gives the logits that are its parameters."""

  def apply(self, variables, batch, train, rngs=None):
    del batch, train, rngs
    return {'logits': variables['params']}


def loss(kind, logits, labels, weights, class_weights=None, segments=None):
  batch = {
    'labels': labels,
    'label_weights': weights.astype(np.float32),
    'segments': segments,
  }
  row = kinds.KINDS[kind]
  objective = TaskObjective(Model(), row.loss, row.label, class_weights)

  def mean(logits):
    total, _ = objective(logits, batch, None, train=False)['loss']
    return total / objective.weights(batch)['loss']

  value, gradient = jax.value_and_grad(mean)(logits.astype(np.float32))
  assert np.isfinite(gradient).all()
  return float(value)


def test_what_a_sum_in_bfloat16_would_cost():
  """Of products in bfloat16 the loss sums 30,522 in float32."""
  logits = jnp.asarray(RNG.normal(size=(32, 30522)), jnp.bfloat16)
  labels = RNG.integers(0, 30522, 32)
  expected = softmax_losses(np.asarray(logits, np.float64), labels).mean()
  total, _, weight = cross_entropy(logits, labels, np.ones(32, np.float32))
  assert float(total / weight) == pytest.approx(expected, rel=1e-6)

  answers = np.asarray(logits, np.float64)[np.arange(32), labels]
  # Past 256 a 1 is less than the last digit: the sum stops, 2 nats too low.
  sums, _ = jax.lax.scan(
    lambda sums, logits: (sums + jnp.exp(logits), None),
    jnp.zeros(32, jnp.bfloat16),
    logits.T,
  )
  stuck = np.log(np.asarray(sums, np.float64)) - answers
  assert expected - stuck.mean() > 1
  # Also a normaliser that is only rounded, to a sixteenth, moves each loss.
  rounded = (
    np.asarray(
      jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1).astype(
        jnp.bfloat16
      ),
      np.float64,
    )
    - answers
  )
  assert abs(rounded.mean() - expected) > 0.01


def test_classes_have_a_weighted_mean_of_cross_entropies():
  logits = RNG.normal(size=(5, 1, 3))
  labels = RNG.integers(0, 3, (5, 1))
  weights = np.array([[1], [1], [0], [1], [1]])
  each = np.array([1.0, 2.0, 0.5])[labels] * weights
  expected = (softmax_losses(logits, labels) * each).sum() / each.sum()
  assert loss('classes', logits, labels, weights, (1.0, 2.0, 0.5)) == (
    pytest.approx(expected, rel=1e-5)
  )


def test_numbers_have_a_squared_error():
  logits, labels = RNG.normal(size=(6, 1, 1)), RNG.normal(size=(6, 1))
  expected = ((logits[..., 0] - labels) ** 2).mean()
  assert loss('number', logits, labels.astype(np.float32), np.ones((6, 1))) == (
    pytest.approx(expected, rel=1e-5)
  )


def test_several_labels_have_a_binary_cross_entropy_each():
  logits = RNG.normal(size=(4, 1, 3))
  labels = RNG.integers(0, 2, (4, 1, 3)).astype(np.float32)
  p = 1 / (1 + np.exp(-logits))
  expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()
  assert loss('labels', logits, labels, np.ones((4, 1))) == (
    pytest.approx(expected, rel=1e-5)
  )


def test_spans_choose_among_the_tokens_of_the_row_alone():
  logits = RNG.normal(size=(3, 7, 2))
  segments = (np.arange(7) < np.array([[4], [5], [7]])).astype(np.int32)
  labels = np.array([[[1, 3]], [[0, 0]], [[2, 6]]])
  expected = np.mean(
    [
      softmax_losses(logits[i, :n, end], labels[i, 0, end])
      for i, n in enumerate([4, 5, 7])
      for end in (0, 1)
    ]
  )
  assert loss(
    'spans', logits, labels, np.ones((3, 1)), segments=segments
  ) == pytest.approx(expected, rel=1e-5)


def test_statistics_of_a_batch():
  batch = {
    'tokens': np.array([[1, 7, 4, 2, 9, 2], [1, 4, 6, 2, 0, 0]], np.int32),
    'segments': np.array([[1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 0, 0]], np.int32),
    'target_positions': np.array([[1, 2], [1, 0]], np.int32),
    'targets': np.array([[7, 8], [5, 1]], np.int32),  # the last one pads
    'weights': np.array([[1, 1], [1, 0]], np.float32),
    'pair_labels': np.array([[1, 1], [0, 1]], np.int32),
    'pair_weights': np.array([[1, 1], [1, 0]], np.float32),
  }
  found = parts.data_statistics(batch)
  assert {k: (float(a), float(b)) for k, (a, b) in found.items()} == {
    'masked_fraction': (3, 10),
    'visible_fraction': (1, 3),
    'random_pair_fraction': (2, 3),
  }
  batch |= {
    'order_weights': np.array([[0, 1], [0, 0]], np.float32),
    'detection_labels': np.array([[1, 0, 0, 1, 1, 0], [0] * 6], np.int32),
    'detection_weights': np.array([[1, 1, 0, 0, 1, 1], [1] * 6], np.float32),
  }
  found = parts.data_statistics(batch, ('mlm', 'sop', 'order'))
  assert float(found['swapped_pair_fraction'][0]) == 2
  assert [float(x) for x in found['shuffled_fraction']] == [1, 10]
  found = parts.data_statistics(batch, ('mlm', 'detection'))
  assert [float(x) for x in found['noise_fraction']] == [2, 10]


def test_each_random_stream_of_a_model_has_its_key_and_the_first_the_rng():
  class Streams:
    random_streams = ('dropout', 'noise', 'choice')

    def apply(self, variables, batch, train, rngs=None):
      return rngs

  rng = jax.random.key(5)
  keys = apply_model(Streams(), {}, {}, rng, train=True)
  assert list(keys) == ['dropout', 'noise', 'choice']
  words = [tuple(jax.random.key_data(key).tolist()) for key in keys.values()]
  assert words[0] == tuple(jax.random.key_data(rng).tolist())
  assert len(set(words)) == 3
  assert apply_model(Streams(), {}, {}) is None


def test_a_model_without_the_heads_of_pretraining_is_refused():
  with pytest.raises(
    UserError, match="got 'Bert'; set MaskedLanguageModel.model"
  ):
    objectives.MaskedLanguageModel(bert.Bert(None))


def test_runs_that_do_not_say_are_read_as_what_they_were_trained_for(tmp_path):
  folder = str(tmp_path)

  def facts(objective):
    return json.loads(json.dumps(objective.facts()))

  def read():
    return json.loads(json.dumps(model_file.read_objective(folder)))

  assert read() == facts(objectives.MaskedLanguageModel(Model()))
  model_file.write_task(folder, {'kind': 'classes'})
  task = TaskObjective(Model(), kinds.KINDS['classes'].loss, kind='classes')
  then = facts(task)
  assert read() == then
  config = EncoderConfig(8, width=8, layers=1, heads=1, feed_forward=8)
  model_file.write(folder, {'': config}, Mine().facts())
  assert read()[0] == 'Mine' and model_file.read(folder) == config
  (tmp_path / 'model.json').write_text('{"objective": {"name": "Mine"}}')
  with pytest.raises(
    UserError, match="expected 'losses' in objective of .*model.json"
  ):
    read()


class Mine(Objective):
  losses = {'my_loss': 1}

  def weights(self, batch):
    return {}

  def __call__(self, parameters, batch, rng, train, frozen=None):
    return {}


def test_an_objective_shows_its_losses_and_no_samples_unless_it_says_more():
  mine = Mine()
  assert mine.panels == ('my_loss',)
  assert mine.show(mine.sample({}, {}), {}, ['a']) == []


@pytest.mark.parametrize('label', sorted({x.label for x in TRAINED}, key=str))
def test_a_batch_with_other_labels_is_refused(label):
  sizes = {'B': 2, 'L': 8, 'S': 1, 'C': 3, '2': 2}
  dimensions, dtype = label
  shape = [sizes[letter] for letter in dimensions]
  example = {
    key: np.zeros(each.shape, each.dtype)
    for key, each in batch.shapes(2, 8, 0, keys=batch.TASK).items()
  } | {
    'labels': np.zeros(shape, dtype),
    'label_weights': np.zeros(shape[:2], np.float32),
  }
  TaskObjective(Model(), None, label).check_batch(example)
  for other in {kind.label for kind in TRAINED} - {label}:
    with pytest.raises(UserError, match='TaskObjective reads label'):
      TaskObjective(Model(), None, other).check_batch(example)


def test_pairs_need_two_types():
  config = EncoderConfig(9, 8, 1, 1, 8, types=1)
  objectives.MaskedLanguageModel(bert.BertForPreTraining(config, False))
  with pytest.raises(UserError, match='types = 1; set it to 2, or NSP=False'):
    objectives.MaskedLanguageModel(bert.BertForPreTraining(config))


def test_an_objective_names_what_its_model_is_for():
  config = EncoderConfig(9, 8, 1, 1, 8)
  plain = objectives.MaskedLanguageModel(bert.BertForPreTraining(config))
  assert plain.keys == batch.PRETRAINING
  assert plain.losses == {'mlm_loss': 1, 'nsp_loss': 1}
  noisy = objectives.MaskedLanguageModel(
    bert.BertForPreTraining(config, True, 'sop', 'detection')
  )
  assert set(noisy.keys) - set(plain.keys) == {
    'detection_labels',
    'detection_weights',
  }
  assert [*noisy.losses] == ['mlm_loss', 'sop_loss', 'detection_loss']
  assert noisy.titles['detection_loss'] == 'noise-detection loss, nats'
  assert noisy.chances == {'sop_accuracy': 0.5, 'detection_auc': 0.5}
  assert noisy.titles['detection_auc'] == 'noise-detection AUC'
  assert noisy.panels[-3:] == (
    'detection_loss',
    'detection_accuracy',
    'detection_auc',
  )
  assert 'detection_auc' in noisy.watched
  for kind, target, words in [
    ('order', None, 'set PAIRS'),
    ('nsp', 'swap', 'set BertForPreTraining.noise_target'),
  ]:
    model = bert.BertForPreTraining(config, True, kind, target)
    with pytest.raises(UserError, match=words):
      objectives.MaskedLanguageModel(model)
  with pytest.raises(UserError, match='reads detection_labels'):
    noisy.check_batch(batch.synthetic(2, 8, 2, 9, seed=0))


def test_an_auc_is_that_of_scikit_learn_in_each_row():
  scores = RNG.normal(size=(6, 40)).round(1)  # some are equal
  labels = (RNG.random((6, 40)) < 0.2).astype(np.int32)
  weights = (RNG.random((6, 40)) < 0.7).astype(np.float32)
  labels[4], weights[5] = 0, 0  # rows with nothing to compare
  logits = np.stack([0 * scores, scores], -1)
  won, pairs = parts.auc(logits, labels, weights)
  expected = []
  for score, label, weight in zip(scores, labels, weights > 0, strict=True):
    one, other = ((label[weight] == x).sum() for x in (1, 0))
    if one and other:
      area = sklearn.metrics.roc_auc_score(label[weight], score[weight])
      expected.append((area * one * other, one * other))
  total, count = np.sum(expected, axis=0)
  assert len(expected) == 4 and float(pairs) == count
  assert float(won) == pytest.approx(total, rel=1e-5)


def test_weights_that_nobody_reads_are_named():
  config = EncoderConfig(9, 8, 1, 1, 8)
  objective = objectives.MaskedLanguageModel(bert.BertForPreTraining(config))
  example = batch.synthetic(2, 8, 2, 9, seed=0)
  assert objective.unread(example) == []
  example |= {
    'order_weights': np.zeros((2, 2), np.float32),
    'detection_labels': np.ones((2, 8), np.int32),
    'detection_weights': np.ones((2, 8), np.float32),
  }
  assert objective.unread(example) == ['detection_weights']


def test_shuffled_tokens_have_a_loss_of_their_own_in_parts_or_at_once():
  config = EncoderConfig(40, 16, 1, 2, 16, dropout=0.0)
  model = bert.BertForPreTraining(config, noise_target='order')
  example = batch.synthetic(4, 16, 6, 40, seed=0)
  order = example['weights'] * (np.arange(6) % 2).astype(np.float32)
  example |= {'order_weights': order, 'weights': example['weights'] - order}
  whole, parts = (objectives.MaskedLanguageModel(model, n) for n in (1, 3))
  boxed = whole.initialize(jax.random.key(0), example)
  parameters = nn.unbox(boxed)
  logits = model.apply({'params': parameters}, example, train=False)
  losses = softmax_losses(
    np.float64(logits['mlm_logits'])[..., :40], example['targets']
  )
  for found in (x(parameters, example, None, False) for x in (whole, parts)):
    for name, weights in (('mlm', example['weights']), ('order', order)):
      loss, count = found[f'{name}_loss']
      assert float(loss) == pytest.approx((losses * weights).sum(), rel=1e-5)
      assert float(count) == weights.sum() > 0
