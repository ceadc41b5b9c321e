"""Two tasks, the numbers worked by hand."""

import json

import pytest

from bertjax.errors import UserError
from bertjax.finetuning import results
from bertjax.runs import trained_model
from bertjax.tasks import specs


def make(folder, task, seed, values, step=None, origin=None):
  run = folder / task.name / f'seed_{seed}'
  run.mkdir(parents=True)
  found = {
    f'eval/{m}': values[-1 if step is None else step] for m in task.metrics
  }
  found |= {f'eval/{m}_baseline': 0.25 for m in task.metrics}
  table = results.Table(str(folder))
  assert table.missing(task, origin, [seed]) == [seed]
  result = {'task': task.name, 'seed': seed, 'step': step, 'seconds': 1.0}
  results.write(str(run), result | {'start_from': origin, 'values': found})
  assert table.missing(task, origin, [seed]) == []
  return str(run)


def test_the_table_has_median_spread_best_and_trivial_in_percent(tmp_path):
  task = specs.Task('x', 'classes', ('a', 'b'), published=92.2)
  for seed, value in ((1, 0.8), (0, 0.5), (4, 0.6)):
    make(tmp_path, task, seed, [0.9, value])
  (tmp_path / 'x' / 'seed_2').mkdir()  # not done
  table = results.Table(str(tmp_path))
  table.add(task)
  cells = [x.strip() for x in table.markdown().splitlines()[2].split('|')][1:-1]
  # mean 19/30; deviations -4/30, 5/30, -1/30; sample variance 42/900/2
  assert cells == [
    'x',
    'Accuracy',
    '25.00',
    '60.00',
    '63.33 ± 15.28',
    '80.00',
    '0, 1, 4',
    '92.2',
  ]
  for folder in (tmp_path, tmp_path / 'x'):
    assert trained_model.best_run(str(folder)) == str(tmp_path / 'x' / 'seed_1')


def test_the_step_that_was_selected_counts(tmp_path):
  task = specs.Task('x', 'classes', ('a', 'b'))
  run = make(tmp_path, task, 0, [0.9, 0.5], step=0)
  with open(f'{run}/result.json') as file:
    assert json.load(file)['values']['eval/accuracy'] == 0.9


def test_the_average_is_over_tasks_of_the_mean_of_their_metrics(tmp_path):
  table = results.Table(str(tmp_path))
  for name, metrics, value in (
    ('x', ('accuracy',), 0.4),
    ('y', ('f1', 'accuracy'), 0.8),
  ):
    task = specs.Task(name, 'classes', ('a', 'b'), metrics)
    make(tmp_path, task, 0, [value])
    table.add(task)
  average, _ = table.markdown().split('\n\n')
  assert '60.00' in average.splitlines()[-1]
  with pytest.raises(UserError, match='runs of 2 tasks.*/x, .*/y'):
    trained_model.best_run(str(tmp_path))
  # What another process adds to keeps what is there.
  assert results.Table(str(tmp_path)).best_run('y').endswith('y/seed_0')


def test_runs_of_another_start_are_not_put_in_one_row(tmp_path):
  task = specs.GLUE['RTE']
  make(tmp_path, task, 0, [0.5])
  table = results.Table(str(tmp_path))
  assert table.missing(task, None, [1, 0]) == [1]
  with pytest.raises(
    UserError,
    match='seed 0 of RTE started from INIT_FROM.*'
    'start from MNLI.*FROM_MNLI to False',
  ):
    table.missing(task, 'MNLI', [1])
