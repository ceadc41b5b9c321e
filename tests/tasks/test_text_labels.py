"""What is said of a text, and the answers that a model must beat."""

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.tasks import kinds
from bertjax.tasks.examples import Part, TextExample
from bertjax.tasks.specs import Task
from bertjax.text.batching import Row

LABELS = ('a', 'b')


def said(kind, logits, labels=LABELS):
  task, row = Task('t', kind, labels), Row([], source=Part('the example'))
  found = kinds.KINDS[kind].decode(task, None, [(row, np.array(logits))])
  ((example, answer),) = found
  assert example == 'the example'
  return answer


def test_scores_are_those_of_softmax_and_sigmoid():
  assert said('classes', [1000.0, 1000 + np.log(3)]) == {
    'label': 'b',
    'scores': pytest.approx({'a': 0.25, 'b': 0.75}),
  }
  assert said('labels', [0.0, np.log(3)]) == {
    'labels': ['b'],
    'scores': pytest.approx({'a': 0.5, 'b': 0.75}),
  }
  assert said('number', [7.0], ()) == {'value': 7.0}


@pytest.mark.parametrize(
  'kind, labels, train, answer',
  [
    ('classes', LABELS, ['b', 'a', 'b'], {'label': 'b'}),
    ('classes', LABELS, ['b', 'a'], {'label': 'a'}),
    ('number', (), [1.0, 4.0], {'value': 2.5}),
    ('labels', LABELS, [('a',), ('a', 'b'), ()], {'labels': ['a']}),
  ],
)
def test_the_trivial_answer_is_the_best_constant_of_training(
  kind, labels, train, answer
):
  examples = [TextExample(('x',), label) for label in train]
  trivial = kinds.KINDS[kind].trivial(Task('t', kind, labels), examples)
  assert trivial(TextExample(('y',), None)) == answer


@pytest.mark.parametrize(
  'kind, labels, label, other',
  [
    ('classes', LABELS, 'a', 'b'),
    ('number', (), 1.5, 2.0),
    ('labels', LABELS, ('a', 'b'), ('a',)),
    ('labels', LABELS, (), ('a',)),
  ],
)
def test_one_label_for_all_is_refused_in_training_and_told_in_scoring(
  kind, labels, label, other, capsys
):
  task, row = Task('t', kind, labels), kinds.KINDS[kind]
  one, two = (TextExample(('x',), each) for each in (label, other))
  with pytest.raises(UserError, match='for all 2 examples to train on; set'):
    row.trivial(task, [one, one])
  row.check(task, [one, one])
  (line,) = capsys.readouterr().out.splitlines()
  assert line.startswith(f'warning: {label!r} for all 2 examples to score on')
  for some in ([one, one, two], [one]):
    row.trivial(task, some)
    row.check(task, some)
  assert not capsys.readouterr().out


@pytest.mark.parametrize(
  'label, message',
  [
    (None, 'an example has none; set LABEL_COLUMN'),
    ('maybe', "'maybe' do not occur in training, which has 'a', 'b'"),
  ],
)
def test_labels_that_cannot_be_scored_are_one_line(label, message):
  pairs = [(TextExample(('x',), label), {'label': 'a'})]
  with pytest.raises(UserError, match=message):
    kinds.KINDS['classes'].score(Task('t', 'classes', LABELS), pairs)


def test_a_metric_gets_the_array_that_metrics_promises(monkeypatch):
  from bertjax.tasks import metrics

  monkeypatch.setattr(metrics, 'score', lambda names, y, p: (y.dtype, p.dtype))
  for kind, label, answer, dtype in (
    ('labels', ('a',), {'labels': ['b']}, bool),
    ('number', 3, {'value': 2.5}, np.float32),
    ('classes', 'a', {'label': 'b'}, int),
  ):
    example = TextExample(('x',), label)
    found = kinds.KINDS[kind].score(
      Task('t', kind, LABELS), iter([(example, answer)])
    )
    assert found == (dtype, dtype)
