"""One or more runs as an HTML page: curves, speed, evaluations, differences.

    report.write(runs=['runs/books', 'runs/books_lr3'], output='report.html')

The page is self-contained and loads nothing.
"""

import html
import math
import os
import re
import statistics
from collections.abc import Iterable, Sequence

from bertjax.reporting import charts, run_reader
from bertjax.reporting.run_reader import Run
from bertjax.runs import output_files

_SPECIAL = ('CLS', 'SEP', 'PAD', 'UNK', 'MASK')
_EVALUATIONS = 6  # of a run, whose filled masks are shown
_LOST = {
  'data_wait': 'waiting for data',
  'evaluation': 'evaluations',
  'checkpoint': 'checkpoints',
}
_STYLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'report.css')


def write(
  *, runs: str | Sequence[str], output: str, dry_run: bool = False
) -> None:
  """Writes the page.

  Args:
    runs: directories of runs; one of a fine-tuning stands for all its runs.
    output: the file to write.
    dry_run: check everything and write nothing.

  Raises:
    UserError: a directory has no metrics, or the output is not writable.
  """
  output_files.check_folder(output)
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
  with open(_STYLE, encoding='utf-8') as file:
    style = file.read()
  title = found[0].name if len(found) == 1 else f'{len(found)} runs'
  sections = [
    ('Runs', _summary(found)),
    ('Results of fine-tuning', ''.join(_result_table(*r) for r in results)),
    ('Evaluations', _evaluations(found)),
    ('Curves', _curves(found)),
    (
      'Masks filled in, as training went on',
      ''.join(_examples(run) for run in found),
    ),
    ('Speed, and where time went', _speed(found)),
    (
      'Configuration'
      if len(found) == 1
      else 'Configuration, where runs differ',
      _configuration(found),
    ),
    ('Checkpoints', _checkpoints(found)),
  ]
  body = ''.join(
    f'<section><h2>{heading}</h2>{content}</section>'
    for heading, content in sections
    if content
  )
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    f'<title>{html.escape(title)}</title><style>{style}</style></head>'
    f'<body><h1>{html.escape(title)}</h1>{body}</body></html>\n'
  )


# ------------------------------------------------------------------- sections


def _summary(found: Sequence[Run]) -> str:
  rows = []
  for i, run in enumerate(found):
    steps = max((s[-1] for s, _ in run.metrics.values() if s), default=0)
    rows.append(
      [
        f'<i class="swatch c{i % charts.COLOURS}"></i>{html.escape(run.name)}',
        charts.number(steps),
        html.escape(run.bindings.get('TRAIN_STEPS', '')),
        _value(run.last('train/loss')),
        html.escape(run.directory),
      ]
    )
  return _table(('run', 'step', 'of', 'last training loss', 'directory'), rows)


def _evaluations(found: Sequence[Run]) -> str:
  """Lists by metric and run the last value, the best, and the baseline."""
  rows = []
  names = {
    name
    for run in found
    for name in run.metrics
    if name.startswith('eval') and not name.endswith('_baseline')
  }
  for name in sorted(names):
    for run in found:
      steps, values = run.metrics.get(name, ([], []))
      known = [
        (v, s) for s, v in zip(steps, values, strict=True) if math.isfinite(v)
      ]
      if known:
        best, step = (min if name.endswith('loss') else max)(
          known, key=lambda pair: pair[0]
        )
        baseline = run.last(name.rpartition('_')[0] + '_baseline')
        rows.append(
          [
            html.escape(name),
            html.escape(run.name),
            _value(values[-1]),
            _value(best),
            charts.number(step),
            _value(baseline) if name.endswith('accuracy') else '',
          ]
        )
  return _table(
    ('metric', 'run', 'last', 'best', 'at step', 'most frequent answer'), rows
  )


def _curves(found: Sequence[Run]) -> str:
  names = {
    name
    for run in found
    for name in run.metrics
    if not name.startswith('speed/') and not name.endswith('_baseline')
  }
  watched = dict.fromkeys(
    name
    for run in found
    for name in run.objective.watched or run.objective.losses
  )
  first = [
    *(f'eval/{name}' for name in watched),
    'train/loss',
    *(f'train/{name}' for name in watched),
    'train/learning_rate',
    'train/grad_norm',
  ]
  # Then the rest by name.
  order = sorted(
    names,
    key=lambda name: (
      first.index(name) if name in first else len(first),
      name,
    ),
  )
  return _legend(found) + _grid(
    _chart(found, name, name.endswith('grad_norm')) for name in order
  )


def _chart(found: Sequence[Run], name: str, logarithmic: bool = False) -> str:
  lines = []
  for i, run in enumerate(found):
    if name in run.metrics:
      lines.append(
        charts.Line(
          run.name, *run.metrics[name], i, exact=name.endswith('learning_rate')
        )
      )
    baseline = name.rpartition('_')[0] + '_baseline'
    if name.endswith('_accuracy') and baseline in run.metrics:
      lines.append(
        charts.Line(
          f'{run.name}, most frequent answer', *run.metrics[baseline], i, True
        )
      )
  title = name.replace('/', ': ').replace('_', ' ')
  return charts.lines(title, lines, logarithmic)


def _examples(run: Run) -> str:
  """Shows each text at a few evaluations, the last one included."""
  if not run.examples:
    return ''
  steps = sorted(run.examples)
  shown = steps[:: -max(1, math.ceil(len(steps) / _EVALUATIONS))][::-1]
  parts = [
    f'<p>{html.escape(run.name)}: <b class="right">right</b>, or '
    '<b class="wrong">said<i>hidden</i></b></p>'
  ]
  for i in range(len(run.examples[steps[-1]])):
    rows = [
      [charts.number(step), _filled(run.examples[step][i])]
      for step in shown
      if i < len(run.examples[step])
    ]
    parts.append(_table(('step', 'text'), rows))
  return ''.join(parts)


def _filled(text: str) -> str:
  """Formats a text such as 'the [cat≠dog]' as HTML."""
  text = html.escape(text)
  special = '|'.join(_SPECIAL)
  # One token: the text's own brackets are separated from their content.
  token = rf'(\[(?:{special})\]|[^\s≠]+?)'
  text = re.sub(
    rf'\[{token}≠{token}\]', r'<b class="wrong">\1<i>\2</i></b>', text
  )
  text = re.sub(
    rf'\[(?!(?:{special})\])([^\s\[\]≠]+)\]', r'<b class="right">\1</b>', text
  )
  return f'<span class="text">{text}</span>'


def _speed(found: Sequence[Run]) -> str:
  rows = []
  for run in found:
    if 'speed/step_seconds' not in run.metrics:
      continue
    rows.append(
      [
        html.escape(run.name),
        _value(_median(run, 'step_seconds')),
        _value(_median(run, 'tokens_per_second')),
        _percent(_median(run, 'mfu')),
        *(_percent(_mean(run, f'{name}_fraction')) for name in _LOST),
      ]
    )
  if not rows:
    return ''
  heads = (
    'run',
    'seconds a step',
    'tokens a second',
    'MFU',
    *(f'share of {what}' for what in _LOST.values()),
  )
  return _table(heads, rows) + _grid(
    _chart(found, name)
    for name in ('speed/tokens_per_second', 'speed/data_wait_fraction')
  )


def _configuration(found: Sequence[Run]) -> str:
  """Lists the macros of one run, or what differs between several."""
  names = sorted(set().union(*(run.bindings for run in found)))
  if len(found) == 1:
    rows = [
      [html.escape(name), html.escape(found[0].bindings[name])]
      for name in names
      if name.isupper()
    ]
    return _table(('macro', 'value'), rows)
  rows = []
  for name in names:
    values = [run.bindings.get(name) for run in found]
    if len(set(values)) > 1 and not name.endswith('RUN_DIR'):
      rows.append(
        [
          html.escape(name),
          *('-' if value is None else html.escape(value) for value in values),
        ]
      )
  if not rows:
    return '<p>None.</p>'
  return _table(('binding', *(html.escape(run.name) for run in found)), rows)


def _checkpoints(found: Sequence[Run]) -> str:
  rows = [
    [
      html.escape(run.name),
      ', '.join(charts.number(c.step) for c in run.checkpoints),
      f'{sum(c.size_bytes for c in run.checkpoints) / 1e6:,.1f} MB',
    ]
    for run in found
    if run.checkpoints
  ]
  return _table(('run', 'steps', 'size of all'), rows)


def _result_table(directory: str, rows: Sequence[dict]) -> str:
  """Tabulates results.json: the scores of each task over its seeds."""
  cells = []
  for row in rows:
    for metric, scores in row['scores'].items():
      if metric.rpartition('/')[2] not in row['metrics']:
        continue  # a loss, or the score of the trivial answer
      cells.append(
        [
          html.escape(row['task']),
          html.escape(metric),
          _value(statistics.median(scores)),
          f'{_value(min(scores))} to {_value(max(scores))}',
          str(len(scores)),
        ]
      )
  return f'<p>{html.escape(directory)}</p>' + _table(
    ('task', 'metric', 'median', 'from, to', 'seeds'), cells
  )


# ---------------------------------------------------------------------- pieces


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  if not rows:
    return ''
  head = ''.join(f'<th>{name}</th>' for name in heads)
  body = ''.join(
    '<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>'
    for row in rows
  )
  return (
    f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
    f'<tbody>{body}</tbody></table></div>'
  )


def _legend(found: Sequence[Run]) -> str:
  return (
    '<p class="legend">'
    + ''.join(
      f'<span><i class="swatch c{i % charts.COLOURS}"></i>'
      f'{html.escape(run.name)}</span>'
      for i, run in enumerate(found)
    )
    + '</p>'
  )


def _grid(figures: Iterable[str]) -> str:
  return f'<div class="charts">{"".join(figures)}</div>'


def _median(run: Run, name: str) -> float | None:
  values = _finite(run, name)
  return statistics.median(values) if values else None


def _mean(run: Run, name: str) -> float | None:
  values = _finite(run, name)
  return sum(values) / len(values) if values else None


def _finite(run: Run, name: str) -> list[float]:
  _, values = run.metrics.get(f'speed/{name}', ([], []))
  return [value for value in values if math.isfinite(value)]


def _value(value: float | None) -> str:
  if value is None:
    return ''
  return charts.number(value) if math.isfinite(value) else 'not finite'


def _percent(share: float | None) -> str:
  return '' if share is None else f'{share:.1%}'
