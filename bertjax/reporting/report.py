"""One or more runs as an HTML page: curves, speed, evaluations, differences.

    report.write(runs=['runs/books', 'runs/books_lr3'], output='report.html')

The page is self-contained and loads nothing.
"""

import html
import itertools
import math
import re
import statistics
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bertjax.reporting import html_page, run_reader
from bertjax.reporting.html_page import Html, Row, number, table
from bertjax.reporting.run_reader import Run
from bertjax.runs import diagrams, output_files
from bertjax.values import Path, Paths, checked

_SPECIAL = 'CLS|SEP|PAD|UNK|MASK'
_EVALUATIONS = 6  # of a run, whose filled masks are shown
MAKER = 'report'


@checked
def write(
  *,
  runs: Paths,
  output: Path,
  overwrite: bool = False,
  dry_run: bool = False,
) -> None:
  """Writes the page.

  Args:
    runs: directories of runs; one of a fine-tuning stands for all its runs.
    output: the file to write, in .html; an earlier report is replaced.
    overwrite: whether to replace any other file.
    dry_run: check everything and write nothing.

  Raises:
    UserError: a directory has no metrics, or the output is not writable.
  """
  output_files.check_output(
    output, ('.html',), overwrite=overwrite, maker=MAKER
  )
  found = run_reader.find(runs)
  page = render(found, run_reader.results(runs))
  if dry_run:
    return
  output_files.write_text(output, page)
  print(f'{len(found)} {"run" if len(found) == 1 else "runs"} in {output}')


def render(
  found: Sequence[Run], results: Sequence[tuple[str, list[dict]]] = ()
) -> str:
  """Returns the page of runs and of `run_reader.results`."""
  one = len(found) == 1
  timed = [run for run in found if 'speed/step_seconds' in run.metrics]
  saved = [run for run in found if run.checkpoints]
  sections = {
    'Runs': table(map(_summary, found)),
    'Results of fine-tuning': ''.join(
      f'<p>{html.escape(directory)}</p>{table(_scores(tasks, _titles(found)))}'
      for directory, tasks in results
    ),
    'Evaluations': table(_evaluations(found)),
    'Curves': _curves(found),
    'Masks filled in, as training went on': ''.join(map(_examples, found)),
    'Speed, and where time went': table(map(_speed, timed))
    + _picture(found, ('speed/tokens_per_second', 'speed/data_wait_fraction')),
    'Configuration' if one else 'Configuration, where runs differ': (
      table(_configuration(found)) or '<p>None.</p>'
    ),
    'Checkpoints': table(map(_checkpoints, saved)),
  }
  title = found[0].name if one else f'{len(found)} runs'
  return html_page.render(title, sections, MAKER)


def _summary(run: Run) -> Row:
  planned = run.bindings.get('TRAIN_STEPS', '')
  return {
    'run': run.name,
    'step': run.step,
    'of': int(planned) if planned.isdecimal() else planned,
    'last training loss': run.last('train/loss'),
    'directory': run.directory,
  }


def _titles(found: Sequence[Run]) -> dict[str, str]:
  return {k: x for run in found for k, x in run.objective.titles.items()}


def _scores(tasks: Sequence[dict], titles: dict[str, str]) -> Iterator[Row]:
  """Reads results.json: the scores of each task over its seeds."""
  for task in tasks:
    for metric, scores in task['scores'].items():
      if metric.rpartition('/')[2] in task['metrics']:
        # Others are losses and the scores of the trivial answer.
        yield {
          'task': task['task'],
          'metric': diagrams.describe(metric, titles).title,
          'median': statistics.median(scores),
          'from, to': f'{number(min(scores))} to {number(max(scores))}',
          'seeds': len(scores),
        }


def _evaluations(found: Sequence[Run]) -> Iterator[Row]:
  """Finds by metric and run the last value, the best, and the baseline."""
  for name, run in itertools.product(_names(found), found):
    steps, values = run.metrics.get(name, ([], []))
    if name.startswith('eval') and np.isfinite(values).any():
      words = diagrams.describe(name, run.objective.titles)
      chance = run.objective.chances.get(name.rpartition('/')[2])
      baseline = run.last(diagrams.baseline(name))
      best = np.nanargmin if words.better == 'lower' else np.nanargmax
      i = best(values)
      yield {
        'metric': words.title,
        'better': words.better,
        'run': run.name,
        'last': values[-1],
        'best': values[i],
        'at step': steps[i],
        'without reading': chance if baseline is None else baseline,
      }


def _names(found: Sequence[Run]) -> list[str]:
  """Returns the metrics of any run but their baselines."""
  names = {name for run in found for name in run.metrics}
  return sorted(name for name in names if not name.endswith('_baseline'))


def _curves(found: Sequence[Run]) -> str:
  watched = [
    x for run in found for x in run.objective.watched or run.objective.losses
  ]
  first = [f'{group}/{x}' for group in ('eval', 'train') for x in watched]
  first += ['train/loss', 'train/learning_rate', 'train/grad_norm']
  # Then the rest by name.
  names = dict.fromkeys((*first, *_names(found)))
  return _picture(found, [x for x in names if not x.startswith('speed/')])


def _picture(found: Sequence[Run], names: Sequence[str]) -> str:
  """Draws a diagram for each metric that a run has, as SVG."""
  titles = _titles(found)
  shown = []
  for name in names:
    smoothed = not name.endswith('learning_rate')
    lines = [
      line
      for run in found
      for line in diagrams.lines(
        run.name, run.metrics, name, run.objective.chances, smoothed
      )
    ]
    shown.append(diagrams.of_metric(name, titles, lines))
  return html_page.picture(shown)


def _examples(run: Run) -> str:
  """Shows each text at a few evaluations, the last one included."""
  steps = sorted(run.examples)
  shown = steps[:: -max(1, math.ceil(len(steps) / _EVALUATIONS))][::-1]
  texts = itertools.zip_longest(*(run.examples[step] for step in shown))
  tables = ''.join(
    table(
      {'step': step, 'text': _filled(text)}
      for step, text in zip(shown, filled, strict=True)
      if text is not None
    )
    for filled in texts
  )
  return tables and (
    f'<p>{html.escape(run.name)}: <b class="right">right</b>, or '
    f'<b class="wrong">said<i>hidden</i></b></p>{tables}'
  )


def _filled(text: str) -> Html:
  """Formats a text such as 'the [cat≠dog]' as HTML."""
  text = html.escape(text)
  # One token: the text's own brackets are separated from their content.
  token = rf'(\[(?:{_SPECIAL})\]|[^\s≠]+?)'
  text = re.sub(
    rf'\[{token}≠{token}\]', r'<b class="wrong">\1<i>\2</i></b>', text
  )
  text = re.sub(
    rf'\[(?!(?:{_SPECIAL})\])([^\s\[\]≠]+)\]', r'<b class="right">\1</b>', text
  )
  return Html(f'<span class="text">{text}</span>')


def _speed(run: Run) -> Row:
  """Takes medians, and the mean shares of lost time."""

  def over_steps(name: str, average: Callable, form: str) -> str:
    _, values = run.metrics.get(f'speed/{name}', ([], []))
    finite = [value for value in values if math.isfinite(value)]
    return format(average(finite), form) if finite else ''

  median, mean = statistics.median, statistics.mean
  return {
    'run': run.name,
    'seconds a step': over_steps('step_seconds', median, '.4g'),
    'tokens a second': over_steps('tokens_per_second', median, ',.0f'),
    'MFU': over_steps('mfu', median, '.1%'),
    'share of waiting for data': over_steps('data_wait_fraction', mean, '.1%'),
    'share of evaluations': over_steps('evaluation_fraction', mean, '.1%'),
    'share of checkpoints': over_steps('checkpoint_fraction', mean, '.1%'),
  }


def _configuration(found: Sequence[Run]) -> Iterator[Row]:
  """Lists the macros of one run, or what differs between several."""
  for name in sorted(set().union(*(run.bindings for run in found))):
    values = [run.bindings.get(name, '-') for run in found]
    differ = len(set(values)) > 1 and not name.endswith('RUN_DIR')
    if differ or len(found) == 1 and name.isupper():
      runs = (run.name for run in found)
      yield {'binding': name, **dict(zip(runs, values, strict=True))}


def _checkpoints(run: Run) -> Row:
  return {
    'run': run.name,
    'steps': ', '.join(f'{step:,}' for step in run.checkpoints),
    'size of all': f'{sum(run.checkpoints.values()) / 1e6:,.1f} MB',
  }
