"""The attention of a text as one picture: heads by layers, and two summaries.

    figure.draw(maps, 'runs/books').savefig('attention_maps.png')

The rows of a map are the tokens that attend, its columns those attended to.
"""

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from bertjax.inspection.maps import Maps

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure
  from matplotlib.image import AxesImage

MAP_INCHES = (1.3, 3.2)  # least and greatest side of a map
GAP = 1.06  # from the origin of one map to the next, in sides of a map
CELL_INCHES = (0.46, 0.27)  # width and height of a number in a summary
POINTS = (4.5, 7)  # least and greatest size of the tokens' font
PIXELS = 12_000  # the most that a side of the picture has
# Most weights are small: their root makes 0.05 as visible as 0.5.
GAMMA = 0.5
TICKS = (0, 0.05, 0.2, 0.5, 1)
STYLE: Any = {
  'axes.labelsize': 8,
  'axes.titlelocation': 'left',
  'axes.titlesize': 8.5,
  'figure.facecolor': 'white',
  'figure.titlesize': 10,
  'xtick.labelsize': 7,
  'ytick.labelsize': 7,
  'xtick.major.size': 0,
  'ytick.major.size': 0,
}


def draw(maps: Maps, origin: str) -> 'Figure':
  """Returns a figure with its size and resolution set.

  Args:
    maps: of one text.
    origin: where the model came from, for the caption.
  """
  import matplotlib  # imported late: takes a second
  from matplotlib.figure import Figure

  layers, heads, length, _ = maps.weights.shape
  side = float(np.clip(length * 0.125, *MAP_INCHES))
  line = min(POINTS[1], 65 * side / length)  # of a token, in points
  every = math.ceil(POINTS[0] / line)  # one of so many tokens is labelled
  points = max(line, POINTS[0])
  # In inches; a letter is hardly wider.
  labels = 0.009 * points * max(map(len, maps.tokens))
  name = 'entropy, nats\n(0: looks at one token)'
  panels = {name: (maps.entropies, 'Blues', np.log(length), '.2f')}
  if maps.importance is not None:
    most = max(float(maps.importance.max()), 1e-9)
    name = 'importance, |dL/dmask|\n(0: not needed)'
    panels[name] = maps.importance, 'Oranges', most, '.2g'
  widths = heads * GAP * side, max(heads * CELL_INCHES[0], 1.6)
  heights = [0.12, *[layers * CELL_INCHES[1]] * len(panels)]
  beside = sum(heights) + 0.75 * len(heights)  # with their own labels
  grid = layers * GAP * side + labels
  width, height = sum(widths) + labels + 1.2, max(grid, beside) + 0.7
  with matplotlib.rc_context(STYLE):
    dpi = min(130, PIXELS / max(width, height))
    figure = Figure((width, height), dpi, layout='constrained')
    text = ' '.join(maps.tokens[1:-1]).replace(' ##', '')
    lines = text, f'{origin}: what each token (row) attends to (column)'
    characters = int(width / 0.08)
    title = '\n'.join(
      textwrap.shorten(line, characters, placeholder=' …') for line in lines
    )
    figure.suptitle(title, x=0.01, ha='left', parse_math=False)
    axes = figure.subplot_mosaic(
      [['maps', name] for name in ('scale', *panels, '.')],
      width_ratios=widths,
      height_ratios=[*heights, max(grid - beside, 0.01)],
    )
    image = _draw_maps(axes['maps'], maps, points, every)
    axes['scale'].set_title('attention weight')
    figure.colorbar(
      image, axes['scale'], orientation='horizontal', ticks=TICKS, format='%g'
    )
    for title, panel in panels.items():
      _draw_panel(axes[title], maps.layers, title, *panel)
  return figure


def _draw_maps(
  axes: 'Axes', maps: Maps, points: float, every: int
) -> 'AxesImage':
  """Draws all maps with gaps between them and returns the last one."""
  from matplotlib.colors import PowerNorm
  from matplotlib.patches import Rectangle

  layers, heads, length, _ = maps.weights.shape
  # In tokens. One axes for all maps: each of its own would take seconds.
  rows, columns = (np.arange(n) * GAP * length for n in (layers, heads))
  for layer, head in np.ndindex(layers, heads):
    x, y = columns[head], rows[layer]
    image = axes.imshow(
      maps.weights[layer, head],
      cmap='Blues',
      norm=PowerNorm(GAMMA, 0, 1),
      interpolation='nearest',
      aspect='auto',
      extent=(x, x + length, y + length, y),
    )
    frame = Rectangle((x, y), length, length, fill=False, edgecolor='#999999')
    axes.add_patch(frame).set(linewidth=0.5, clip_on=False)
  axes.set(xlabel='token attended to', ylabel='token that attends')
  axes.set_xlim(0, columns[-1] + length)
  axes.set_ylim(rows[-1] + length, 0)
  axes.spines[:].set_visible(False)
  shown = np.arange(0, length, every)
  tokens = [maps.tokens[i] for i in shown]
  font: dict[str, Any] = {'fontsize': points, 'parse_math': False}
  places = [np.add.outer(x, shown + 0.5).ravel() for x in (rows, columns)]
  axes.set_yticks(places[0], tokens * layers, **font)
  axes.set_xticks(places[1], tokens * heads, rotation=90, **font)
  above, beside = axes.secondary_xaxis('top'), axes.secondary_yaxis('right')
  names = [f'head {n}' for n in range(heads)]
  above.set_xticks(columns + length / 2, names, fontsize=8.5)
  names = [f'layer {n}' for n in maps.layers]
  beside.set_yticks(
    rows + length / 2, names, rotation=270, va='center', fontsize=8.5
  )
  for axis in (above, beside):
    axis.spines[:].set_visible(False)
  return image


def _draw_panel(
  axes: 'Axes',
  layers: tuple[int, ...],
  title: str,
  values: np.ndarray,
  colours: str,
  most: float,
  digits: str,
) -> None:
  """Draws a number for each head of each layer.

  Args:
    axes: to draw on.
    layers: N numbers.
    title: of the panel.
    values: float[N, H].
    colours: name of a colour map, from 0 to `most`.
    most: the largest value there can be.
    digits: format of the numbers.
  """
  axes.imshow(values, cmap=colours, vmin=0, vmax=most, aspect='auto')
  for (row, column), value in np.ndenumerate(values):
    colour = 'white' if value > 0.6 * most else '#222222'
    text = axes.text(column, row, f'{value:{digits}}', color=colour)
    text.set(ha='center', va='center', fontsize=7)
  axes.set(title=title, xlabel='head', ylabel='layer')
  axes.set_xticks(range(values.shape[1]))
  axes.set_yticks(range(len(layers)), list(map(str, layers)))
  axes.spines[:].set_visible(False)
