import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.finetuning.settings import class_weights
from bertjax.tasks.labelled_batches import Rows
from bertjax.tasks.specs import Task
from bertjax.text.batching import Row

CLASSES = Task('x', 'classes', ('no', 'yes', 'never seen'))


def rows(labels, kind='classes'):
  return Rows.of([(Row([2, 7, 3]), label) for label in labels], kind)


def test_balanced_classes_weigh_as_much_together():
  weights = class_weights('balanced', CLASSES, rows([0, 0, 0, 1]))
  # As scikit-learn: n / (C * n_c); a class without examples, as with one.
  np.testing.assert_allclose(weights, [4 / 9, 4 / 3, 4 / 3])


def test_balanced_tags_count_the_words_alone():
  task = Task('x', 'tags', ('O', 'B-X'))
  tagged = rows([[-1, 0, -1], [-1, 1, -1], [-1, 0, -1]], 'tags')
  np.testing.assert_allclose(
    class_weights('balanced', task, tagged), [3 / 4, 3 / 2]
  )


def test_weights_are_those_that_are_given_or_refused():
  assert class_weights(None, CLASSES, rows([0])) is None
  assert class_weights([1, 2, 0], CLASSES, rows([0])) == (1.0, 2.0, 0.0)
  for wanted in ([1, 2], [1, 2, -1], 'even'):
    with pytest.raises(UserError, match='a weight for each of no, yes'):
      class_weights(wanted, CLASSES, rows([0]))
  with pytest.raises(UserError, match='of spans takes no CLASS_WEIGHTS'):
    class_weights('balanced', Task('x', 'spans'), rows([(0, 0)], 'spans'))
