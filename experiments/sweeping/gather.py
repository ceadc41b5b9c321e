"""The results of a sweep: results.jsonl, a table, a picture."""

import json
import os
import statistics
from collections.abc import Sequence

from bertjax.runs import output_files
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
  axes = sweep.axes()
  header = [
    *axes,
    *(f'{metric}: median (least to most)' for metric in sweep.metrics),
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
  """Draws each metric over the first axis, a line per value of the others."""
  from matplotlib.figure import Figure

  first, *_ = [*sweep.axes(), '']  # '' if only the seeds differ
  figure = Figure(figsize=(5.2 * len(sweep.metrics), 3.6), layout='constrained')
  panels = figure.subplots(1, len(sweep.metrics), squeeze=False)[0]
  for panel, metric in zip(panels, sweep.metrics, strict=True):
    lines = {}
    for point, some in points(results):
      values = [r['values'][metric] for r in some if r['status'] == 'done']
      if values:
        rest = {k: v for k, v in point.items() if k != first}
        lines.setdefault(
          ', '.join(f'{k} {_word(v)}' for k, v in rest.items()), []
        ).append((point.get(first, ''), values))
    for label, line in lines.items():
      _draw_line(panel, line, label, joined=sweep.search is None)
    panel.set_xlabel(first)
    panel.set_title(metric, fontsize=10, loc='left')
    panel.grid(alpha=0.25, linewidth=0.5)
    panel.spines[['top', 'right']].set_visible(False)
    if 1 < len(lines) <= 10:
      panel.legend(fontsize=8, frameon=False)
  figure.savefig(path, dpi=130)


def _draw_line(panel, line, label: str, joined: bool) -> None:
  numeric = all(
    isinstance(x, int | float) and not isinstance(x, bool) for x, _ in line
  )
  if numeric:
    line = sorted(line)
  where = [x if numeric else _word(x) for x, _ in line]
  middle = [statistics.median(values) for _, values in line]
  spread = [
    [m - min(values) for m, (_, values) in zip(middle, line, strict=True)],
    [max(values) - m for m, (_, values) in zip(middle, line, strict=True)],
  ]
  panel.errorbar(
    where,
    middle,
    spread,
    label=label,
    capsize=3,
    marker='o',
    markersize=4,
    linewidth=1.4 if joined and numeric else 0,
    elinewidth=1,
  )
  if (
    numeric
    and len(where) > 2
    and min(where) > 0
    and (max(where) / min(where) > 30)
  ):
    panel.set_xscale('log')


def _word(value) -> str:
  if is_file(value):
    return value.rsplit('/', 1)[-1].removesuffix('.gin')
  return f'{value:g}' if isinstance(value, float) else str(value)
