import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.tasks import head_outputs


def test_probabilities_are_those_of_softmax_and_sigmoid():
  logits = np.array([[1000.0, 1000 + np.log(3)], [0.0, 0.0]])
  np.testing.assert_allclose(
    head_outputs.probabilities('classes', logits), [[0.25, 0.75], [0.5, 0.5]]
  )
  np.testing.assert_allclose(
    head_outputs.probabilities('labels', np.array([[0.0, np.log(3)]])),
    [[0.5, 0.75]],
  )
  assert head_outputs.probabilities('number', np.array([[7.0]])).tolist() == [7]


def test_what_is_said_of_a_text():
  task = {'kind': 'classes', 'labels': ['a', 'b']}
  assert list(head_outputs.describe(task, np.array([[0.25, 0.75]]))) == [
    {'label': 'b', 'scores': {'a': 0.25, 'b': 0.75}}
  ]
  task['kind'] = 'labels'
  assert list(head_outputs.describe(task, np.array([[0.25, 0.75]]))) == [
    {'labels': ['b'], 'scores': {'a': 0.25, 'b': 0.75}}
  ]
  assert list(
    head_outputs.describe({'kind': 'number', 'labels': []}, np.array([2.5]))
  ) == [{'value': 2.5}]


def test_a_model_without_the_head_is_refused_with_what_it_has():
  with pytest.raises(UserError, match='runs/x has no head of a task'):
    head_outputs.check(None, ('tags',), 'runs/x')
  with pytest.raises(UserError, match='a task of spans, and one of tags'):
    head_outputs.check({'kind': 'spans'}, ('tags',), 'runs/x')
