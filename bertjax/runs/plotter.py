"""Draws curves and points, for every picture of runs.

    curve = Line('train', [10, 20], [3.0, 2.5])
    plotter.draw([Diagram('Loss', [curve], vertical='nats')], 'curves.png')

A label has one colour in all diagrams of a picture. One legend tells the labels
apart, and says what is drawn in any other way.
"""

import decimal
import itertools
import pathlib
import textwrap
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.axis import Axis

# Weight of the previous mean, as in TensorBoard; 0.8 averages five points.
_SMOOTHING = 0.8
_LONG = 30  # points of a curve that is drawn without a dot for each
_QUIET = '#7d858f'  # as in the style
_STYLE = pathlib.Path(__file__).with_name('plotter.mplstyle')
# Characters of a line that fit a diagram of 3.4 by 2.6 inches.
_TITLE, _AXIS = 38, 32
_LOGARITHMIC = 8  # times the least is the greatest point
_NAMES = 40  # characters of all names that fit side by side


class Line(NamedTuple):
  """A curve; several of the same kind as a grey band; or points.

  Attributes:
    label: for the legend; lines of one label have one colour. '': there is
      nothing to tell apart.
    steps: of the points, ascending.
    values: [steps]; or [seeds, steps], of which the range is shaded. What is
      not finite is left out.
    baseline: whether it is what is reached without reading, by a constant
      answer or by guessing: a dashed line at the last value.
    smoothed: whether a long curve is drawn pale, with its moving mean over it.
    points: whether the values are dots at the median of the seeds, with bars
      from least to greatest, and a cross where none is finite.
    joined: whether a line goes through these dots.
    bars: whether the values are bars that stand on zero, side by side.
  """

  label: str
  steps: ArrayLike
  values: ArrayLike
  baseline: bool = False
  smoothed: bool = False
  points: bool = False
  joined: bool = False
  bars: bool = False


class Diagram(NamedTuple):
  """Lines over the same axes.

  Attributes:
    title: stands above it.
    lines: from the lowest to the topmost.
    scale: of the vertical axis: 'linear', 'log', or 'from zero' if noise alone
      would otherwise fill it.
    vertical: what that axis shows, and which direction is better.
    horizontal: what the other shows. Its scale is logarithmic if there are
      points that are far apart.
    names: of the steps 0, 1, 2... in words; none: they are numbers.
  """

  title: str
  lines: Sequence[Line]
  scale: str = 'linear'
  vertical: str = ''
  horizontal: str = 'training step'
  names: Sequence[str] = ()


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
  legend: dict[str, Any] = {}
  with matplotlib.style.context(_STYLE):
    figure = Figure()
    for number, diagram in enumerate(shown, 1):
      axes = figure.add_subplot(rows, columns, number)
      _draw_diagram(axes, diagram, colours, legend)
    legend |= _manners([line for each in shown for line in each.lines])
    # In inches; a letter of the legend is hardly wider, a line hardly higher.
    across = 0.7 + 0.08 * max(map(len, legend), default=0)
    width = max(3.4 * columns, across)
    beside = int(width / across)
    names = max(map(_tilted, shown))
    height = (2.6 + 0.03 * names) * rows + 0.2 * -(-len(legend) // beside)
    figure.set_size_inches(width, height)
    labels = map(_literal, legend)
    style: Any = {'loc': 'outside upper left', 'ncols': beside}
    figure.legend(legend.values(), labels, **style)
    background = 'none' if kind == 'svg' else 'white'
    metadata = {'Software': made_by} if made_by else None
    figure.savefig(file, format=kind, facecolor=background, metadata=metadata)
  return True


def _manners(lines: Sequence[Line]) -> dict[str, Any]:
  """Returns what stands in the legend for how lines are drawn."""
  from matplotlib.lines import Line2D

  alone = not any(line.label for line in lines)

  def handle(**style: Any) -> Line2D:
    colour = 'C0' if alone else _QUIET
    return Line2D([], [], color=colour, linewidth=1, markersize=4, **style)

  legend = {}
  if any(line.baseline for line in lines):
    legend['reached without reading'] = handle(linestyle='--')
  if any(_is_pale(line) for line in lines):
    legend['pale: as logged; bold: moving mean'] = handle(alpha=0.35)
  for points in (False, True):
    counts = [
      np.isfinite(line.values).sum(axis=0)
      for line in lines
      if np.ndim(line.values) == 2 and line.points == points
    ]
    if not counts:
      continue
    some = np.concatenate(counts)
    least, most = min(some[some > 0]), max(some)
    number = f'{most}' if least == most else f'{least} to {most}'
    text = f'dot: median of {number} seeds; bar: least to greatest'
    if not points:
      legend[f'thin lines: {number} seeds; band: least to greatest'] = handle()
      continue
    text = text if most > 1 else 'dot: one seed'
    legend[text] = handle(marker='o', linestyle='')
    if not some.all():
      legend['no result'] = handle(marker='x', linestyle='')
  return legend


def _draw_diagram(
  axes: 'Axes',
  diagram: Diagram,
  colours: dict[str, str],
  legend: dict[str, Any],
) -> None:
  """Draws the lines; adds new labels to `colours` and `legend`."""
  from matplotlib.transforms import ScaledTranslation

  axes.set_title(textwrap.fill(_literal(diagram.title), _TITLE))
  axes.set_xlabel(textwrap.fill(_literal(diagram.horizontal), _TITLE))
  vertical = _literal(diagram.vertical)
  if len(vertical) > _AXIS:
    vertical = vertical.replace(' (', '\n(')
  axes.set_ylabel(vertical)
  if diagram.scale == 'log':
    axes.set_yscale('log', nonpositive='mask')
  count = len(diagram.lines)
  for number, line in enumerate(diagram.lines):
    colour = colours.setdefault(line.label, f'C{len(colours)}')
    if line.baseline:
      last = np.ravel(line.values)[-1]
      axes.axhline(last, color=colour, linewidth=1, linestyle='--')
      continue
    drawn = _draw_line(axes, line, colour)
    if line.points:
      # In inches, so that those at the same place do not hide each other.
      shift = (number - (count - 1) / 2) / (6 * max(count, 4))
      move = ScaledTranslation(shift, 0, axes.figure.dpi_scale_trans)
      for artist in drawn[:-1]:
        artist.set_transform(artist.get_transform() + move)
    if line.label:
      legend.setdefault(line.label, drawn[-1])
  if diagram.scale == 'from zero':
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
  _set_ticks(axes.yaxis)
  if diagram.names:
    names = [_literal(name) for name in diagram.names]
    tilt: Any = {'rotation': 25, 'ha': 'right', 'rotation_mode': 'anchor'}
    axes.set_xticks(
      range(len(names)), names, **tilt if _tilted(diagram) else {}
    )
    axes.set_xlim(-0.5, len(names) - 0.5)
  elif any(line.points for line in diagram.lines):
    places = np.unique(np.concatenate([x.steps for x in diagram.lines]))
    if 0 < _LOGARITHMIC * places[0] <= places[-1]:
      axes.set_xscale('log')
    _set_ticks(axes.xaxis, places)
  else:
    _set_ticks(axes.xaxis, whole=True)


def _tilted(diagram: Diagram) -> int:
  """Returns the length of the longest name, 0 if all fit side by side."""
  lengths = [len(name) for name in diagram.names]
  beside = [(a + b) / 2 for a, b in itertools.pairwise(lengths)]
  narrow = len(lengths) * max(beside, default=0) > _NAMES
  return max(lengths) if narrow or sum(lengths) > _NAMES else 0


def _set_ticks(
  axis: 'Axis', places: np.ndarray | None = None, whole: bool = False
) -> None:
  """Sets plain numbers, at all places if they are few and far enough apart."""
  from matplotlib import ticker

  logarithmic = axis.get_scale() == 'log'
  low, high = axis.get_view_interval()
  style: Any = {'steps': (1, 2, 2.5, 5, 10), 'integer': whole}
  at: ticker.Locator = ticker.MaxNLocator(5, min_n_ticks=1, **style)
  if logarithmic:
    subs = (1, 2, 5) if high < 100 * low else (1,)
    powers = ticker.LogLocator(subs=subs, numticks=7).tick_values(low, high)
    ticks = [x for x in powers if low <= x <= high]
    if len(ticks) > 1:
      at = ticker.FixedLocator(ticks)
  if places is not None and len(places) > 1:
    distances = np.diff(np.log(places) if logarithmic else places)
    if min(distances) > 0.12 * sum(distances):
      at = ticker.FixedLocator(places.tolist())
  axis.set_major_locator(at)
  axis.set_minor_locator(ticker.NullLocator())
  axis.set_major_formatter(lambda value, _: plain(value))


def _is_pale(line: Line) -> bool:
  """Whether a curve is long, and drawn as it is and smoothed."""
  return line.smoothed and np.isfinite(line.values).sum() >= _LONG


def _draw_line(axes: 'Axes', line: Line, colour: str) -> list[Any]:
  """Returns all that was drawn; the last stands for it in the legend."""
  steps, values = np.asarray(line.steps), np.asarray(line.values, float)
  if line.bars:
    return list(axes.bar(steps, values, width=0.85, color=colour))
  if line.points:
    known = np.isfinite(values).any(axis=0)
    failed, form = steps[~known], '-o' if line.joined else 'o'
    bottom: Any = {'transform': axes.get_xaxis_transform(), 'clip_on': False}
    crosses = []
    if len(failed):  # an empty line would break the layout
      crosses = axes.plot(failed, 0 * failed, 'x', color=colour, **bottom)
    quantiles = np.full((3, len(steps)), np.nan)
    quantiles[:, known] = np.nanquantile(values[:, known], (0, 0.5, 1), axis=0)
    low, middle, high = quantiles
    bars: Any = {'fmt': form, 'markersize': 4, 'elinewidth': 1}
    bars['capsize'] = 3 if len(values) > 1 else 0
    spread = middle - low, high - middle
    dots = axes.errorbar(steps, middle, spread, color=colour, **bars)
    return [*crosses, *dots.get_children(), dots]
  if values.ndim == 2:
    marker = '.' if len(steps) < 5 else None
    axes.plot(steps, values.T, color=_QUIET, linewidth=0.6, marker=marker)
    style: Any = {'color': _QUIET, 'alpha': 0.35, 'linewidth': 0}
    return [axes.fill_between(steps, values.min(0), values.max(0), **style)]
  finite = np.isfinite(values)
  steps, values = steps[finite], values[finite]
  marker = '.' if len(steps) < _LONG else None
  if _is_pale(line):
    axes.plot(steps, values, color=colour, alpha=0.35, linewidth=0.8)
    values = smooth(values)
  return axes.plot(steps, values, color=colour, marker=marker)


def plain(value: float, digits: int = 6) -> str:
  """Formats a number without an exponent.

  >>> plain(25180), plain(0.00003), plain(0.15824, digits=3)
  ('25,180', '0.00003', '0.158')
  """
  return f'{decimal.Decimal(f"{value:.{digits}g}"):,f}'


def _literal(text: str) -> str:
  """Returns a text without formulas."""
  return text.replace('$', r'\$')


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
