import pytest

from bertjax.errors import UserError
from bertjax.tasks import specs


def test_values_that_are_none_are_the_tasks_own():
  task = specs.GLUE['RTE']
  changed = specs.with_values(task, {'epochs': None, 'length': 64})
  assert (changed.epochs, changed.length) == (task.epochs, 64)
  assert changed.name == 'RTE'


@pytest.mark.parametrize(
  'values, message',
  [
    ({'select': 'first'}, 'Task.select'),
    ({'epochs': 0}, 'set Task.epochs'),
    ({'head_dropout': 1.0}, 'set Task.head_dropout'),
    ({'head_dropout': -0.1}, 'set Task.head_dropout'),
    ({'stride': -1}, 'set Task.stride'),
    ({'select': 'last', 'patience': 2}, "SELECT 'best'"),
    ({'learning_rat': 1e-3}, "did you mean 'learning_rate'"),
    ({'labels': ('a',)}, "got 'labels'"),
  ],
)
def test_values_that_cannot_be_are_one_line(values, message):
  with pytest.raises(UserError, match=message):
    specs.with_values(specs.GLUE['RTE'], values)


def test_names_in_lists_make_the_same_task_as_in_tuples():
  one = specs.Task('x', 'classes', labels=['a'], metrics=['accuracy'])
  assert one == specs.Task('x', 'classes', ('a',), ('accuracy',))
  assert hash(one.metrics)


@pytest.mark.parametrize(
  'values, words',
  [
    ({'name': '../x'}, "folder, got '../x'; set Task.name"),
    ({'name': '..'}, 'set Task.name'),
    ({'labels': ('a', 'a')}, 'labels that differ.*Task.labels'),
    ({'metrics': ('f1', 'f1')}, 'metrics that differ.*Task.metrics'),
  ],
)
def test_a_task_that_cannot_be_is_refused_when_it_is_made(values, words):
  with pytest.raises(UserError, match=words):
    specs.Task(**{'name': 'x', 'kind': 'classes'} | values)
