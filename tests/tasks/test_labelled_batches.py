"""The order, and packing against the same rows unpacked."""

import jax
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.models.bert import BertForTask
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning
from bertjax.tasks import kinds, labelled_batches
from bertjax.text.batching import Row
from bertjax.training.task_objective import TaskObjective

CONFIG = EncoderConfig(
  vocabulary_size=40,
  width=8,
  layers=2,
  heads=2,
  feed_forward=16,
  positions=16,
  dropout=0.0,
  initializer_stddev=0.5,
)


def rows(kind, count=21):
  rng = np.random.default_rng(0)
  for index in range(count):
    ids = [index + 5, *rng.integers(5, 40, rng.integers(1, 9))]
    second = len(ids) // 2 if index % 2 else None
    label = index % 3
    if kind == 'tags':
      label = [
        i % 3 if i % 2 else labelled_batches.NO_TAG for i in range(len(ids))
      ]
    yield Row(ids, second), label


def firsts(batch):
  first = np.take_along_axis(batch['tokens'], batch['first_positions'], 1)
  return (first[batch['label_weights'] > 0] - 5).tolist()


def test_every_row_comes_once_an_epoch_in_an_order_of_its_own():
  stored = labelled_batches.Rows.of(rows('classes'))
  found = labelled_batches.LabelledBatches(
    stored, batch_size=7, length=16, seed=3
  )
  epochs = [sum((firsts(next(found)) for _ in range(3)), []) for _ in range(2)]
  assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(21))
  assert epochs[0] != epochs[1]


def test_a_restored_position_gives_the_same_batches():
  stored = labelled_batches.Rows.of(rows('classes'))
  one = labelled_batches.LabelledBatches(stored, 8, 16, seed=1)
  next(one)
  other = labelled_batches.LabelledBatches(stored, 8, 16, seed=1)
  other.restore(one.position())
  for _ in range(4):
    jax.tree.map(np.testing.assert_array_equal, next(one), next(other))


@pytest.mark.parametrize(
  'kind, head', [('classes', 'classifier'), ('tags', 'tag_head')]
)
def test_a_packed_batch_gives_the_same_update(kind, head):
  stored = labelled_batches.Rows.of(rows(kind), kinds.KINDS[kind].label)
  objective = TaskObjective(
    BertForTask(CONFIG, head, 3),
    kinds.KINDS[kind].loss,
    kinds.KINDS[kind].label,
    class_weights=(1.0, 2.0, 0.5),
  )
  plain = next(labelled_batches.LabelledBatches(stored, 16, 16, seed=0))
  mesh = partitioning.make_mesh(devices=jax.devices()[:2])
  packed = next(
    labelled_batches.LabelledBatches(
      stored, 16, 16, seed=0, pack=True, mesh=mesh
    )
  )
  assert len(packed['tokens']) < 16 and len(packed['tokens']) % 2 == 0
  parameters = jax.tree.map(
    lambda x: x.value,
    objective.model.init(jax.random.key(0), plain, train=False)['params'],
    is_leaf=lambda x: hasattr(x, 'value'),
  )

  def loss(parameters, batch):
    total, weight = objective(parameters, batch, None, False)['loss']
    return total / objective.weights(batch)['loss'], weight

  (a, weight), of_plain = jax.value_and_grad(loss, has_aux=True)(
    parameters, plain
  )
  (b, other), of_packed = jax.value_and_grad(loss, has_aux=True)(
    parameters, packed
  )
  np.testing.assert_allclose(weight, other)
  np.testing.assert_allclose(a, b, rtol=1e-5)
  # float32 sums in another order; gradients here are around 0.1
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=2e-6),
    of_plain,
    of_packed,
  )


def test_nothing_to_train_on_is_one_line():
  with pytest.raises(UserError, match='there are none'):
    labelled_batches.Rows.of([])


def test_labels_of_tokens_other_than_ids_are_refused():
  for label in (('BL', np.float32), ('BLC', np.float32)):
    with pytest.raises(UserError, match=r"expected \('BL', int32\)"):
      labelled_batches.Rows.of([(Row([2, 3]), [0.5, 0.1])], label)
