"""Draws curves, for every picture of runs.

    loss = Diagram('loss', [Line('train', [10, 20], [3.0, 2.5])])
    plotter.draw([loss], 'curves.png')

A label has one colour in all diagrams of a picture, and one legend tells them
apart.
"""

import pathlib
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
  from matplotlib.artist import Artist
  from matplotlib.axes import Axes

# Weight of the previous mean, as in TensorBoard; 0.8 averages five points.
_SMOOTHING = 0.8
_LONG = 30  # points of a curve that is drawn without a dot for each
_QUIET = '#7d858f'  # as in the style
_STYLE = pathlib.Path(__file__).with_name('plotter.mplstyle')


class Line(NamedTuple):
  """A curve, or several of the same kind as a grey band.

  Attributes:
    label: for the legend; lines of one label have one colour.
    steps: of the points, ascending.
    values: [steps]; or [seeds, steps], of which the range is shaded. What is
      not finite is left out.
    baseline: whether it is the score of the most frequent answer: a dashed line
      at the last value.
    smoothed: whether a long curve is drawn pale, with its moving mean over it.
  """

  label: str
  steps: ArrayLike
  values: ArrayLike
  baseline: bool = False
  smoothed: bool = False


class Diagram(NamedTuple):
  """Curves over the same axes.

  Attributes:
    title: stands above it.
    lines: from the lowest to the topmost.
    vertical: the axis: 'linear', 'log', or 'from zero' if noise alone would
      otherwise fill it.
  """

  title: str
  lines: Sequence[Line]
  vertical: str = 'linear'


def draw(
  diagrams: Sequence[Diagram],
  file: str | IO[str],
  kind: str = 'png',
  made_by: str | None = None,
) -> bool:
  """Draws a picture; returns False and writes none if nothing is finite.

  Args:
    diagrams: those without a finite value are left out.
    file: path, or a file that is open for text.
    kind: 'png'; or 'svg', which has no background and leaves fonts to the page.
    made_by: stands in a PNG, see `output_files.mark`.
  """
  import matplotlib.style  # imported late: takes half a second
  from matplotlib.figure import Figure
  from matplotlib.lines import Line2D

  shown = [
    diagram
    for diagram in diagrams
    if any(np.isfinite(line.values).any() for line in diagram.lines)
  ]
  if not shown:
    return False
  columns = min(4, len(shown), max(2, (len(shown) + 1) // 2))
  rows = -(-len(shown) // columns)
  colours: dict[str, str] = {}
  legend: dict[str, Artist] = {}
  with matplotlib.style.context(_STYLE):
    figure = Figure(figsize=(3.4 * columns, 2.6 * rows))
    for place, diagram in enumerate(shown, 1):
      axes = figure.add_subplot(rows, columns, place)
      _draw_diagram(axes, diagram, colours, legend)
    if any(line.baseline for diagram in shown for line in diagram.lines):
      dashes = Line2D([], [], color=_QUIET, linewidth=1, linestyle='--')
      legend['most frequent answer'] = dashes
    if len(legend) > 1:
      # In inches; a letter of the legend is hardly wider, a line hardly higher.
      width = 0.7 + 0.08 * max(map(len, legend))
      across = max(1, int(figure.get_figwidth() / width))
      figure.set_figheight(2.6 * rows + 0.2 * -(-len(legend) // across))
      figure.legend(
        legend.values(),
        [label.replace('$', r'\$') for label in legend],  # no formulas
        loc='outside upper left',
        ncols=across,
      )
    background = 'none' if kind == 'svg' else 'white'
    metadata = {'Software': made_by} if made_by else None
    figure.savefig(file, format=kind, facecolor=background, metadata=metadata)
  return True


def _draw_diagram(
  axes: 'Axes',
  diagram: Diagram,
  colours: dict[str, str],
  legend: dict[str, 'Artist'],
) -> None:
  """Draws the lines; adds new labels to `colours` and `legend`."""
  from matplotlib.ticker import EngFormatter, MaxNLocator

  axes.set_title(diagram.title)
  axes.set_xlabel('step')
  if diagram.vertical == 'log':
    axes.set_yscale('log', nonpositive='mask')
  for line in diagram.lines:
    colour = colours.setdefault(line.label, f'C{len(colours)}')
    if line.baseline:
      last = np.ravel(line.values)[-1]
      axes.axhline(last, color=colour, linewidth=1, linestyle='--')
    else:
      legend.setdefault(line.label, _draw_line(axes, line, colour))
  if diagram.vertical == 'from zero':
    axes.set_ylim(bottom=0)
  axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
  axes.xaxis.set_major_formatter(EngFormatter(sep=''))


def _draw_line(axes: 'Axes', line: Line, colour: str) -> 'Artist':
  """Returns what stands for it in the legend."""
  steps, values = np.asarray(line.steps), np.asarray(line.values, float)
  if values.ndim == 2:
    marker = '.' if len(steps) < 5 else None
    axes.plot(steps, values.T, color=_QUIET, linewidth=0.6, marker=marker)
    return axes.fill_between(
      steps, values.min(0), values.max(0), color=_QUIET, alpha=0.35, linewidth=0
    )
  finite = np.isfinite(values)
  steps, values = steps[finite], values[finite]
  marker = '.' if len(steps) < _LONG else None
  if line.smoothed and not marker:
    axes.plot(steps, values, color=colour, alpha=0.35, linewidth=0.8)
    values = smooth(values)
  return axes.plot(steps, values, color=colour, marker=marker)[0]


def smooth(values: np.ndarray) -> np.ndarray:
  """Returns the exponential moving mean.

  Bias-corrected as in Adam: the first value stays as it is.

      >>> smooth(np.array([7.0, 0.0])).round(2).tolist()
      [7.0, 3.11]
  """
  weights = _SMOOTHING ** np.arange(64)  # those of older values are nothing
  total, weight = (
    np.convolve(x, weights)[: len(x)] for x in (values, np.ones_like(values))
  )
  return total / weight
