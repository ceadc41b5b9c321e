"""curves.png of a run, from its metrics.jsonl.

curves.draw('runs/x', ['loss'])  # 'runs/x/curves.png'
"""

import os
from collections.abc import Iterable

from bertjax.runs import (
  diagrams,
  layout,
  metrics_file,
  model_file,
  output_files,
  plotter,
)


def draw(directory: str, panels: Iterable[str]) -> str | None:
  """Draws curves.png of a run from its metrics.jsonl.

  Args:
    directory: of the run.
    panels: metrics without 'train/' or 'eval/', for both share a diagram; those
      that every run has follow. What has no data is left out.

  Returns:
    the path of the picture; None if the run has no metric of any panel.
  """
  metrics = metrics_file.read_metrics(directory)
  objective = model_file.read_objective(directory)
  titles, chances = objective.titles, objective.chances
  found = []
  for panel in dict.fromkeys((*panels, *diagrams.COMMON)):
    names = [x for x in metrics if x.rpartition('/')[2] == panel]
    if names:
      words = [diagrams.describe(x, titles) for x in names]
      lines = [
        line
        for name, word in zip(names, words, strict=True)
        for line in diagrams.lines(word.place, metrics, name, chances)
      ]
      # The name of the one that is held out says which direction is better.
      title, name = words[0].name, min(names)
      found.append(diagrams.of_metric(name, titles, lines, title))
  path = os.path.join(directory, layout.CURVES)
  with output_files.explain_failure(path):
    return path if plotter.draw(found, path) else None
