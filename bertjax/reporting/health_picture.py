"""Draws the curves of runs over the band of their reference.

    health_picture.draw([(run, reference)], 'health.png')

The band is the range of the reference's runs.
"""

import math
from collections.abc import Sequence

from bertjax.reporting.references import Reference
from bertjax.reporting.run_reader import Run

_COLUMNS = 3


def draw(compared: Sequence[tuple[Run, Reference]], path: str) -> None:
  """Writes a PNG with a panel for each metric of both runs and reference.

  Args:
    compared: runs, each with the same reference.
    path: of the file.
  """
  from matplotlib.figure import Figure  # imported late: takes half a second

  reference = compared[0][1]
  metrics = [
    metric
    for metric in reference.curves
    if any(metric in run.metrics for run, _ in compared)
    and not metric.endswith('_baseline')
  ]
  rows = math.ceil(len(metrics) / _COLUMNS)
  figure = Figure(figsize=(4 * _COLUMNS, 2.6 * rows), layout='constrained')
  grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
  for metric, axes in zip(metrics, grid, strict=False):
    steps, values = reference.curves[metric]
    usual = dict(color='#8a8f98', marker='.' if len(steps) < 5 else None)
    axes.fill_between(
      steps,
      values.min(0),
      values.max(0),
      alpha=0.35,
      color='#8a8f98',
      linewidth=0,
      label=reference.name,
    )
    for value in values:
      axes.plot(steps, value, linewidth=0.6, **usual)
    for run, _ in compared:
      axes.plot(
        *run.metrics.get(metric, ([], [])),
        linewidth=1.4,
        label=run.name,
        marker='.' if len(steps) < 5 else None,
      )
    if metric.endswith('grad_norm'):
      axes.set_yscale('log')
    axes.set_title(metric, fontsize=10, loc='left')
    axes.tick_params(labelsize=8, which='both')
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[['top', 'right']].set_visible(False)
  grid[0].legend(fontsize=8, frameon=False)
  for axes in grid[len(metrics) :]:
    axes.remove()
  figure.savefig(path, dpi=110, format='png')
