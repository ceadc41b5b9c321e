"""Scores of fine-tuning: result.json of each run, and one table of all.

    results.write('runs/glue/SST-2/seed_0', {'task': 'SST-2', 'seed': 0})
    table = results.Table('runs/glue')
    table.add(task)
    print(table.markdown())

results.json holds `tasks`, one row per task, with the `scores` of each metric
in the order of `seeds`; results.md holds the table.
"""

import glob
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.parallel import processes
from bertjax.runs import diagrams, layout, model_file, output_files
from bertjax.tasks.specs import Task
from bertjax.text import whole_files
from bertjax.training.task_objective import TaskObjective

_HEADER = tuple(
  'task|metric|trivial|median|mean ± std|best|seeds|published'.split('|')
)

_EXPLAINED = (
  'Scores in percent, std over the seeds. trivial: without a model, as training'
  ' has it: the most\nfrequent class, or tag of the word; the mean number; the '
  'first words of the context.'
)

# Of result.json: key -> annotation.
_RESULT: dict[str, Any] = {
  'seed': int,
  'start_from': str | None,
  'values': dict[str, float],
}


def write(run_dir: str, result: Mapping[str, Any]) -> None:
  """Writes result.json of a run.

  Args:
    run_dir: the folder of the run.
    result: `task`, by name; `seed`; `step` of the evaluation that counts, None
      if it is the last one; `start_from`, the task whose model it started from,
      None if it is the one in INIT_FROM; `values` of that evaluation, by the
      names in metrics.jsonl; `seconds` that the process trained.
  """
  path = os.path.join(run_dir, layout.RESULT)
  output_files.write_json(path, result, 'RUN_DIR')


class Table:
  """One row per task, over all finished seeds in its folder of `run_dir`.

  One process reads and writes, for files reach other machines late; all must
  call what it says to all: the constructor, `missing` and `add`.

  Attributes:
    rows: task -> row of results.json.
  """

  def __init__(self, run_dir: str):
    self._run_dir = run_dir
    rows = processes.from_first(lambda: model_file.read_results(run_dir))
    self.rows: dict[str, dict[str, Any]] = {x['task']: x for x in rows or ()}

  def folder(self, task: Task, seed: int | None = None) -> str:
    """Returns the folder of a task, or of one of its runs."""
    folder = os.path.join(self._run_dir, task.name)
    return folder if seed is None else layout.seed_folder(folder, seed)

  def missing(
    self, task: Task, origin: str | None, seeds: Sequence[int]
  ) -> list[int]:
    """Returns those of `seeds` without a result.

    Args:
      task: the task of the runs.
      origin: the task whose model they start from; None: the one in INIT_FROM.
      seeds: the seeds that are wanted.

    Raises:
      UserError: a finished run of the task started from another model.
    """
    done = processes.from_first(lambda: self._done(task))
    for result in done:
      if result['start_from'] != origin:
        then, now = (x or 'INIT_FROM' for x in (result['start_from'], origin))
        raise UserError(
          f'seed {result["seed"]} of {task.name} started from {then}, and '
          f'others would start from {now}; set RUN_DIR to another directory, '
          f'or FROM_MNLI to {then != "INIT_FROM"}'
        )
    return [s for s in seeds if s not in {result['seed'] for result in done}]

  def write(self) -> None:
    """Writes results.json and results.md."""
    self._write(self._run_dir, self.rows.values())

  def add(self, task: Task) -> None:
    """Adds a task whose runs are finished, and writes the files again."""
    self.rows = processes.from_first(lambda: self._added(task))

  def _added(self, task: Task) -> dict[str, dict[str, Any]]:
    found = self._done(task)
    main = f'eval/{task.metrics[0]}'
    best = max(found, key=lambda result: result['values'][main])
    best_run = self.folder(task, best['seed'])
    row = {
      'task': task.name,
      'metrics': task.metrics,
      'seeds': [result['seed'] for result in found],
      'scores': {
        name: [result['values'][name] for result in found]
        for name in found[0]['values']
      },
      'best_run': os.path.relpath(best_run, self._run_dir),
      'published': task.published,
      'source': task.source,
    }
    self.rows[task.name] = row
    self.write()
    own = self.folder(task)
    self._write(own, [row | {'best_run': os.path.relpath(best_run, own)}])
    return self.rows

  def _done(self, task: Task) -> list[dict[str, Any]]:
    """Returns the results of the finished runs, in the order of seeds."""
    runs = layout.seed_folder(glob.escape(self.folder(task)), '*')
    found = (_read(os.path.join(x, layout.RESULT)) for x in glob.glob(runs))
    return sorted(filter(None, found), key=lambda result: result['seed'])

  def best_run(self, task: str | None) -> str | None:
    """Returns the folder of a task's best run; None if it has none."""
    if task is None or task not in self.rows:
      return None
    return os.path.join(self._run_dir, self.rows[task]['best_run'])

  def markdown(self) -> str:
    """Returns the table, in percent."""
    return markdown(list(self.rows.values()))

  def _write(self, folder: str, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    content = {'tasks': rows, 'average': average(rows)}
    path = os.path.join(folder, layout.RESULTS)
    output_files.write_json(path, content, 'RUN_DIR')
    path = os.path.join(folder, layout.RESULTS_TABLE)
    output_files.write_text(path, markdown(rows) + '\n', 'RUN_DIR')


def average(rows: Sequence[Mapping[str, Any]]) -> float | None:
  """Returns the mean over tasks of the mean of their metrics' medians.

      >>> one = {'metrics': ['f1'], 'scores': {'eval/f1': [0.25, 0.5, 0.5]}}
      >>> two = {'metrics': ['f1'], 'scores': {'eval/f1': [1.0]}}
      >>> average([one, two])
      0.75

  GLUE, too, averages a task's metrics first. None for fewer than two tasks.
  """
  if len(rows) < 2:
    return None
  return statistics.mean(
    statistics.mean(
      statistics.median(row['scores'][f'eval/{metric}'])
      for metric in row['metrics']
    )
    for row in rows
  )


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns rows of results.json as a table, and what its columns mean."""
  lines: list[tuple[str, ...]] = [_HEADER]
  for row in rows:
    for name, scores in row['scores'].items():
      group, _, metric = name.rpartition('/')
      if metric not in row['metrics']:
        continue
      trivial = row['scores'].get(f'{name}_baseline')
      spread = _percent(statistics.stdev(scores)) if len(scores) > 1 else '-'
      main = name == f'eval/{row["metrics"][0]}'
      published = row['published'] if main else None
      lines.append(
        (
          row['task'] + group.removeprefix('eval').replace('_', ' '),
          diagrams.describe(name, TaskObjective.titles).name,
          _percent(trivial[0]) if trivial else '-',
          _percent(statistics.median(scores)),
          f'{_percent(statistics.mean(scores))} ± {spread}',
          _percent(max(scores)),
          ', '.join(map(str, row['seeds'])),
          '-' if published is None else f'{published:.1f}',
        )
      )
  mean = average(rows)
  if mean is not None:
    lines.append(('average', '', '', _percent(mean), '', '', '', ''))
  lines.insert(1, tuple('-' * len(word) for word in _HEADER))
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  form = '| ' + ' | '.join(f'{{:{width}}}' for width in widths) + ' |'
  table = '\n'.join(form.format(*line) for line in lines)
  return f'{table}\n\n{_EXPLAINED}'


def _percent(value: float) -> str:
  return f'{100 * value:.2f}'


def _read(path: str) -> dict[str, Any] | None:
  fix = 'mend it, or delete the folder of its seed to run that again'
  content = whole_files.read_object(path, fix)
  if content is not None:
    whole_files.check(content, _RESULT, path, fix)
  return content
