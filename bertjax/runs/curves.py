"""curves.png of a run, from its metrics.jsonl.

curves.draw('runs/x', [Panel('the loss', ('loss',))])  # 'runs/x/curves.png'
"""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bertjax.runs import layout, metrics_file, output_files, plotter
from bertjax.runs.plotter import Diagram, Line


class Panel(NamedTuple):
  """A diagram.

  Attributes:
    title: stands above it.
    metrics: what is drawn, without 'train/' or 'eval/': both share a panel.
    vertical: see `plotter.Diagram`.
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


def draw(directory: str, panels: Iterable[Panel]) -> str | None:
  """Draws curves.png of a run from its metrics.jsonl.

  Args:
    directory: of the run.
    panels: of its objective; common ones follow. Those without data are left
      out.

  Returns:
    the path of the picture; None if the run has no metric of any panel.
  """
  metrics = metrics_file.read_metrics(directory)
  diagrams = [
    Diagram(panel.title, _lines(metrics, panel.metrics), panel.vertical)
    for panel in (*panels, *_COMMON)
  ]
  path = os.path.join(directory, layout.CURVES)
  with output_files.explain_failure(path):
    return path if plotter.draw(diagrams, path) else None


def _lines(metrics: metrics_file.Metrics, names: Sequence[str]) -> list[Line]:
  """Returns each metric whose last part is one of `names`."""
  # If there are several, each gets its own colour and label.
  several = sum(not name.endswith('_baseline') for name in names) > 1
  lines = []
  for full_name, curve in metrics.items():
    group, _, name = full_name.rpartition('/')
    if name in names:
      baseline = name.endswith('_baseline')
      label = full_name if several and not baseline else group
      lines.append(Line(label, *curve, baseline=baseline))
  return lines
