"""What runs of fine-tuning reached: result.json of each, one table of all.

    results.write('runs/glue/SST-2/seed_0', task, seed=0, ...)
    table = results.Table('runs/glue', results.read('runs/glue'))
    table.add(task)
    print(table.markdown())

results.json holds `tasks`, a row each with its `scores` by metric in the order
of `seeds`, and results.md the table. Source: ours.
"""

import glob
import json
import math
import os
import statistics
from collections.abc import Sequence

from bertjax.errors import UserError
from bertjax.runs import layout, metrics_file
from bertjax.runs.layout import RESULTS
from bertjax.tasks.specs import Task

_HEADER = (
  'task',
  'metric',
  'trivial',
  'median',
  'mean ± std',
  'best',
  'seeds',
  'published',
)


def write(
  run_dir: str,
  task: Task,
  seed: int,
  step: int | None,
  origin: str | None,
  seconds: float,
) -> dict[str, float]:
  """Writes result.json of a run, and returns its metrics.

  Args:
    run_dir: of the run.
    task: that it was trained for.
    seed: that it was trained with.
    step: whose evaluation counts; None: the last one's.
    origin: the task whose model it started from; None: INIT_FROM's.
    seconds: that it took, of this process.
  """
  values = {}
  for name, (steps, found) in metrics_file.read_metrics(run_dir).items():
    at = steps[-1] if step is None else step
    if name.startswith('eval') and at in steps:
      values[name] = found[steps.index(at)]
  _write_json(
    os.path.join(run_dir, layout.RESULT),
    {
      'task': task.name,
      'seed': seed,
      'step': step,
      'start_from': origin,
      'values': values,
      'seconds': round(seconds, 1),
    },
  )
  return values


def read(run_dir: str) -> dict[str, dict]:
  """Returns task -> row of results.json; none where there is no such file."""
  path = os.path.join(run_dir, RESULTS)
  if not os.path.exists(path):
    return {}
  with open(path, encoding='utf-8') as file:
    return {row['task']: row for row in json.load(file)['tasks']}


class Table:
  """A row a task, over all seeds that are done in its folder of `run_dir`.

  Attributes:
    rows: task -> row, as `read` gives them.
  """

  def __init__(self, run_dir: str, rows: dict[str, dict]):
    self._run_dir, self.rows = run_dir, rows

  def folder(self, task: Task, seed: int | None = None) -> str:
    """Returns the folder of a task, or of one of its runs."""
    folder = os.path.join(self._run_dir, task.name)
    return folder if seed is None else layout.seed_folder(folder, seed)

  def missing(
    self, task: Task, origin: str | None, seeds: Sequence[int]
  ) -> list[int]:
    """Returns the seeds whose runs have not written a result.

    Args:
      task: of the runs.
      origin: see `write`.
      seeds: that there shall be.

    Raises:
      UserError: runs that have, started from another model.
    """
    done = [result for _, result in self._done(task)]
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
    """Adds a task whose runs are done, and writes the files anew."""
    done = self._done(task)
    found = [result for _, result in done]
    scores = {
      name: [result['values'][name] for result in found]
      for name in found[0]['values']
    }
    main = scores[f'eval/{task.metrics[0]}']
    best, _ = done[max(range(len(main)), key=main.__getitem__)]
    row = {
      'task': task.name,
      'metrics': task.metrics,
      'seeds': [result['seed'] for result in found],
      'scores': scores,
      'best_run': os.path.relpath(best, self._run_dir),
      'published': task.published,
      'source': task.source,
    }
    self.rows[task.name] = row
    self.write()
    own = self.folder(task)
    self._write(own, [row | {'best_run': os.path.relpath(best, own)}])

  def _done(self, task: Task) -> list[tuple[str, dict]]:
    """Returns the folders and results of the runs that are done, by seed."""
    done = []
    runs = layout.seed_folder(glob.escape(self.folder(task)), '*')
    for path in glob.glob(os.path.join(runs, layout.RESULT)):
      with open(path, encoding='utf-8') as file:
        done.append((os.path.dirname(path), json.load(file)))
    return sorted(done, key=lambda pair: pair[1]['seed'])

  def best_run(self, task: str | None) -> str | None:
    """Returns the folder of a task's best run; None where it has none."""
    row = self.rows.get(task)
    return row and os.path.join(self._run_dir, row['best_run'])

  def markdown(self) -> str:
    """Returns the table, in percent."""
    return markdown(list(self.rows.values()))

  def _write(self, folder: str, rows) -> None:
    rows = list(rows)
    os.makedirs(folder, exist_ok=True)
    _write_json(
      os.path.join(folder, RESULTS), {'tasks': rows, 'average': average(rows)}
    )
    with open(
      os.path.join(folder, layout.RESULTS_TABLE), 'w', encoding='utf-8'
    ) as f:
      f.write(markdown(rows) + '\n')


def average(rows: Sequence[dict]) -> float | None:
  """Returns the mean over tasks of the mean of their metrics' medians.

  As GLUE has it, where a task has two metrics; None for fewer than two tasks.
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


def markdown(rows: Sequence[dict]) -> str:
  """Returns rows of results.json as a table, scores in percent."""
  lines = [_HEADER]
  for row in rows:
    for name, scores in row['scores'].items():
      group, metric = name.split('/')
      if metric not in row['metrics']:
        continue
      trivial = row['scores'][f'{name}_baseline'][0]
      spread = statistics.stdev(scores) if len(scores) > 1 else math.nan
      suffix = group.removeprefix('eval').replace('_', ' ')
      published = (
        row['published'] if name == (f'eval/{row["metrics"][0]}') else None
      )
      lines.append(
        (
          row['task'] + suffix,
          metric,
          _percent(trivial),
          _percent(statistics.median(scores)),
          f'{_percent(statistics.mean(scores))} ± '
          f'{"-" if math.isnan(spread) else _percent(spread)}',
          _percent(max(scores)),
          ', '.join(map(str, row['seeds'])),
          '-' if published is None else f'{published:.1f}',
        )
      )
  if average(rows) is not None:
    lines.append(('average', '', '', _percent(average(rows)), '', '', '', ''))
  lines.insert(1, tuple('-' * len(word) for word in _HEADER))
  widths = [max(len(line[i]) for line in lines) for i in range(len(_HEADER))]
  return '\n'.join(
    '| '
    + ' | '.join(
      word.ljust(width) for word, width in zip(line, widths, strict=True)
    )
    + ' |'
    for line in lines
  )


def _percent(value: float) -> str:
  return f'{100 * value:.2f}'


def _write_json(path: str, content) -> None:
  with open(path + '.new', 'w', encoding='utf-8') as file:
    file.write(json.dumps(content, indent=2, ensure_ascii=False) + '\n')
  os.replace(path + '.new', path)
