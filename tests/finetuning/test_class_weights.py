import dataclasses

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.finetuning.finetune import class_weights
from bertjax.tasks import kinds
from bertjax.tasks.labelled_batches import Rows
from bertjax.tasks.specs import Task
from bertjax.text.batching import Row

CLASSES = Task('x', 'classes', ('no', 'yes', 'never seen'))


def weights_of(wanted, labels, task=CLASSES):
  kind = kinds.find(task.kind)
  rows = Rows.of([(Row([2, 7, 3]), label) for label in labels], kind.label)
  return class_weights(
    dataclasses.replace(task, class_weights=wanted), kind, rows
  )


def test_balanced_classes_weigh_as_much_together():
  weights = weights_of('balanced', [0, 0, 0, 1])
  # As scikit-learn: n / (C * n_c); a class without examples, as with one.
  np.testing.assert_allclose(weights, [4 / 9, 4 / 3, 4 / 3])


def test_balanced_tags_count_the_words_alone():
  task = Task('x', 'tags', ('O', 'B-X'))
  tagged = [[-1, 0, -1], [-1, 1, -1], [-1, 0, -1]]
  np.testing.assert_allclose(
    weights_of('balanced', tagged, task), [3 / 4, 3 / 2]
  )


def test_weights_are_those_that_are_given_or_refused():
  assert weights_of(None, [0]) is None
  assert weights_of([1, 2, 0], [0]) == (1.0, 2.0, 0.0)
  for wanted in ([1, 2], [0, 0, 0], [1, 2, -1], 'even'):
    with pytest.raises(
      UserError, match='a weight for each of no, yes|set Task.class_weights'
    ):
      weights_of(wanted, [0])
  with pytest.raises(UserError, match='of spans takes no CLASS_WEIGHTS'):
    weights_of('balanced', [(0, 0)], Task('x', 'spans'))
