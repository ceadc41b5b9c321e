"""curves.png of a run, from its metrics.jsonl.

curves.draw('runs/x', [Panel('the loss', ('loss',))])  # 'runs/x/curves.png'
"""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bertjax.runs import layout, metrics_file, output_files

if TYPE_CHECKING:
  from matplotlib.axes import Axes


class Panel(NamedTuple):
  """A diagram.

  Attributes:
    title: stands above it.
    metrics: what is drawn, without 'train/' or 'eval/': both share a panel.
    vertical: the axis: 'linear', 'log', or 'from zero' if noise alone would
      otherwise fill it.
  """

  title: str
  metrics: Sequence[str]
  vertical: str = 'linear'


# Those of every run, after the panels of its objective.
_COMMON = (
  Panel('learning rate', ('learning_rate',)),
  Panel('gradient norm, before clipping', ('grad_norm',), 'log'),
  Panel('tokens a second', ('tokens_per_second',), 'from zero'),
  Panel('share of time waiting for data', ('data_wait_fraction',), 'from zero'),
)
_COLOURS = {'train': '#1f6fb4', 'eval': '#d9601a', 'speed': '#555555'}


def draw(directory: str, panels: Iterable[Panel]) -> str | None:
  """Draws curves.png of a run from its metrics.jsonl.

  Args:
    directory: of the run.
    panels: of its objective; common ones follow. Those without data are left
      out.

  Returns:
    the path of the picture; None if the run has no metric of any panel.
  """
  from matplotlib.figure import Figure  # takes a second, once a run

  metrics = metrics_file.read_metrics(directory)
  shown = [
    panel
    for panel in (*panels, *_COMMON)
    if any(name.split('/')[-1] in panel.metrics for name in metrics)
  ]
  if not shown:
    return None
  columns = min(4, (len(shown) + 1) // 2)
  rows = -(-len(shown) // columns)
  figure = Figure(figsize=(3.4 * columns, 2.6 * rows), layout='constrained')
  grid = figure.subplots(rows, columns, squeeze=False).flat
  for axes, panel in zip(grid, shown, strict=False):
    _draw_panel(axes, metrics, panel.metrics)
    if panel.vertical == 'log':
      axes.set_yscale('log')
    elif panel.vertical == 'from zero':
      axes.set_ylim(bottom=0)
    axes.set_title(panel.title, fontsize=10, loc='left')
    axes.set_xlabel('step', fontsize=8)
    axes.tick_params(labelsize=8, which='both')
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[['top', 'right']].set_visible(False)
    if len(axes.get_lines()) > 1:
      axes.legend(fontsize=8, frameon=False)
  for axes in grid:  # the panels left over
    axes.remove()
  path = os.path.join(directory, layout.CURVES)
  with output_files.explain_failure(path):
    figure.savefig(path, dpi=130)
  return path


def _draw_panel(
  axes: 'Axes', metrics: metrics_file.Metrics, names: Sequence[str]
) -> None:
  """Draws each metric whose last part is one of `names`."""
  for full_name, (steps, values) in metrics.items():
    group, _, name = full_name.rpartition('/')
    if name not in names:
      continue
    # If there are several, each gets its own colour and label.
    several = sum(not x.endswith('_baseline') for x in names) > 1
    colour = None if several else _COLOURS.get(group, '#3a8f5c')
    if name.endswith('_baseline'):  # of the held-out data, so constant
      axes.axhline(
        values[-1],
        color=colour,
        linewidth=1,
        linestyle='--',
        label='most frequent answer',
      )
    else:
      axes.plot(
        steps,
        values,
        color=colour,
        linewidth=1.4,
        label=full_name if several else group,
        marker='.' if len(steps) < 30 else None,
      )
