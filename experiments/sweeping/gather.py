"""The results of a sweep: results.jsonl, a table, a picture."""

import glob
import itertools
import json
import math
import os
import statistics
from collections.abc import Sequence

from bertjax.runs import diagrams, layout, model_file, output_files, plotter
from experiments.sweeping.spec import Sweep, is_file, name_of


def write(sweep: Sweep, results: Sequence[dict], output: str) -> str:
  """Writes results.jsonl, results.md and results.png; returns the table."""
  table = markdown(sweep, results)
  for name, text in (
    ('results.jsonl', ''.join(f'{json.dumps(row)}\n' for row in results)),
    ('results.md', f'{table}\n'),
  ):
    output_files.write_text(os.path.join(output, name), text)
  if any(result['status'] == 'done' for result in results):
    draw(sweep, results, os.path.join(output, 'results.png'))
  return table


def frame(results: Sequence[dict]):
  """Returns a pandas.DataFrame: runs as rows, macros and metrics as columns."""
  import pandas

  return pandas.DataFrame(
    [
      {
        **result['point'],
        'SEED': result['seed'],
        'status': result['status'],
        **result['values'],
        'seconds': result['seconds'],
        'error': result['error'],
        'folder': result['folder'],
      }
      for result in results
    ]
  )


def points(results: Sequence[dict]) -> list[tuple[dict, list[dict]]]:
  """Returns each point with the results of its seeds."""
  found = {}
  for result in results:
    found.setdefault(name_of(result['point']), []).append(result)
  return [(some[0]['point'], some) for some in found.values()]


def markdown(sweep: Sweep, results: Sequence[dict]) -> str:
  """Returns a row for each point.

  It has the median and the spread of each metric over the seeds, the number of
  seeds, and what went wrong.
  """
  axes, titles = sweep.axes(), _titles(results)
  header = [
    *axes,
    *(
      f'{words.title}: median (least to most)'
      + (f', {words.better} is better' if words.better else '')
      for words in (_describe(x, titles) for x in sweep.metrics)
    ),
    'seeds',
    'minutes',
    '',
  ]
  lines = [header, ['---'] * len(header)]
  for point, some in points(results):
    done = [result for result in some if result['status'] == 'done']
    cells = [_word(point.get(axis, '')) for axis in axes]
    for metric in sweep.metrics:
      values = [result['values'][metric] for result in done]
      cells.append(
        '-'
        if not values
        else (
          f'{statistics.median(values):.4f} '
          f'({min(values):.4f} to {max(values):.4f})'
        )
      )
    seconds = [result['seconds'] for result in done]
    cells += [
      f'{len(done)} of {len(sweep.seeds)}',
      f'{statistics.median(seconds) / 60:.1f}' if seconds else '-',
      '; '.join(
        dict.fromkeys(
          f'{r["status"]}: {r["error"]}' for r in some if r['status'] != 'done'
        )
      ).replace('|', '/'),
    ]
    lines.append(cells)
  return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines)


def draw(sweep: Sweep, results: Sequence[dict], path: str) -> None:
  """Draws each metric over the first axis, a line per value of the others.

  Those of a search over each axis, for no two points share the others.
  """
  titles, axes = _titles(results), sweep.axes() or ['']  # '': seeds alone
  plotter.draw(
    [
      _diagram(sweep, results, axis, metric, titles)
      for metric in sweep.metrics
      for axis in (axes if sweep.search else axes[:1])
    ],
    path,
  )


def _diagram(
  sweep: Sweep, results: Sequence[dict], axis: str, metric: str, titles: dict
) -> plotter.Diagram:
  found = {}
  for point, some in points(results):
    rest = '' if sweep.search else _label(point, axis)
    values = [result['values'].get(metric, math.nan) for result in some]
    found.setdefault(rest, []).append((point.get(axis, ''), values))
  places = [place for line in found.values() for place, _ in line]
  numeric = all(
    isinstance(x, int | float) and not isinstance(x, bool) for x in places
  )
  names = [] if numeric else list(dict.fromkeys(map(_word, places)))
  lines = []
  for label, line in found.items():
    if not numeric:
      line = [(names.index(_word(place)), values) for place, values in line]
    where, values = zip(*sorted(line, key=lambda pair: pair[0]), strict=True)
    seeds = [*itertools.zip_longest(*values, fillvalue=math.nan)]
    joined = numeric and sweep.search is None
    lines.append(plotter.Line(label, where, seeds, points=True, joined=joined))
  words = _describe(metric, titles)
  return plotter.Diagram(
    words.title,
    lines,
    vertical=words.axis,
    horizontal=axis or 'runs that differ in their seeds alone',
    names=names,
  )


def _label(point: dict, axis: str) -> str:
  return ', '.join(f'{k} {_word(v)}' for k, v in point.items() if k != axis)


def _describe(metric: str, titles: dict) -> diagrams.Words:
  """Returns a metric in words; that of a second stage may have the same."""
  words = diagrams.describe(metric.removeprefix('then/'), titles)
  if metric.startswith('then/'):
    return words._replace(place=f'{words.place}, second stage')
  return words


def _titles(results: Sequence[dict]) -> dict[str, str]:
  """Returns what the first run that is done calls its metrics."""
  by_status = sorted(results, key=lambda result: result['status'] != 'done')
  found = {}
  for folder in [result['folder'] for result in by_status[:1]]:
    below = glob.escape(folder)
    models = glob.glob(f'{below}/*/{layout.MODEL}')
    models += glob.glob(f'{below}/*/*/seed_*/{layout.MODEL}')
    for run in map(os.path.dirname, models or [f'{folder}/{layout.MODEL}']):
      found |= model_file.read_objective(run).titles
  return found


def _word(value) -> str:
  if is_file(value):
    return value.rsplit('/', 1)[-1].removesuffix('.gin')
  return f'{value:g}' if isinstance(value, float) else str(value)
