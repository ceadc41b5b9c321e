"""curves.png of a run, from its metrics.jsonl.

curves.draw('runs/x')  # 'runs/x/curves.png'
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertjax.runs import layout, metrics_file, output_files

if TYPE_CHECKING:
  from matplotlib.axes import Axes

# Title, vertical axis ('from zero' if noise alone would otherwise fill it), and
# the metrics drawn: curves of 'train' and 'eval' share a panel.
_PANELS = (
  ('masked-LM loss, nats', 'linear', ('mlm_loss',)),
  ('masked-LM accuracy', 'linear', ('mlm_accuracy', 'mlm_baseline')),
  ('next-sentence loss, nats', 'linear', ('nsp_loss',)),
  ('next-sentence accuracy', 'linear', ('nsp_accuracy', 'nsp_baseline')),
  ("the task's loss", 'linear', ('loss',)),
  (
    "the task's metrics",
    'linear',
    (
      'accuracy',
      'f1',
      'f1_macro',
      'f1_micro',
      'matthews',
      'pearson',
      'spearman',
      'exact_match',
    ),
  ),
  ('learning rate', 'linear', ('learning_rate',)),
  ('gradient norm, before clipping', 'log', ('grad_norm',)),
  ('tokens a second', 'from zero', ('tokens_per_second',)),
  ('share of time waiting for data', 'from zero', ('data_wait_fraction',)),
)
_COLOURS = {'train': '#1f6fb4', 'eval': '#d9601a', 'speed': '#555555'}


def draw(directory: str) -> str | None:
  """Draws curves.png of a run from its metrics.jsonl, one panel per quantity.

  Returns:
    the path of the picture; None if the run has no metric of `_PANELS`.
  """
  from matplotlib.figure import Figure  # takes a second, once a run

  metrics = metrics_file.read_metrics(directory)
  panels = [
    panel
    for panel in _PANELS
    if any(name.split('/')[-1] in panel[2] for name in metrics)
    # In pretraining, the loss is the sum of what other panels show.
    and not (panel[2] == ('loss',) and 'train/mlm_loss' in metrics)
  ]
  if not panels:
    return None
  columns = min(4, (len(panels) + 1) // 2)
  rows = -(-len(panels) // columns)
  figure = Figure(figsize=(3.4 * columns, 2.6 * rows), layout='constrained')
  grid = figure.subplots(rows, columns, squeeze=False).flat
  for axes, (title, vertical, names) in zip(grid, panels, strict=False):
    _draw_panel(axes, metrics, names)
    if vertical == 'log':
      axes.set_yscale('log')
    elif vertical == 'from zero':
      axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=10, loc='left')
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
    several = len(names) > 2  # each then gets its own colour and label
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
