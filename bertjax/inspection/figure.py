"""The attention of a text as one picture: heads by layers, and two summaries.

    figure.draw(maps, 'runs/books').savefig('attention_maps.png')

The rows of a map are the tokens that attend, its columns those attended to.
"""

import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from bertjax.inspection.maps import Maps

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure
  from matplotlib.image import AxesImage
  from matplotlib.patches import Rectangle

LABEL_INCHES = 0.062  # width of a character in the tokens' font at LABEL_POINTS
LABEL_POINTS = 7
SMALLEST_POINTS = 4.5
MAP_INCHES = (1.3, 3.2)  # least and greatest side of a map
GAP = 1.06  # from the origin of one map to the next, in sides of a map
CELL_INCHES = (0.46, 0.27)  # width and height of a number in a summary
PIXELS = 12_000  # the most that a side of the picture has
# Most weights are small: their root makes 0.05 as visible as 0.5.
GAMMA = 0.5
TICKS = (0, 0.05, 0.2, 0.5, 1)


def draw(maps: Maps, origin: str) -> 'Figure':
  """Returns a figure with its size and resolution set.

  Args:
    maps: of one text.
    origin: where the model came from, for the title.
  """
  from matplotlib.figure import Figure  # imported late: takes a second

  layers, heads, length, _ = maps.weights.shape
  side = float(np.clip(length * 0.125, *MAP_INCHES))
  points = min(LABEL_POINTS, 72 * side / length * 0.9)
  every = 1  # one of so many tokens is labelled
  while points * every < SMALLEST_POINTS:
    every += 1
  points = max(points, SMALLEST_POINTS)
  labels = max(map(len, maps.tokens)) * LABEL_INCHES * points / LABEL_POINTS
  grid = tuple((n * GAP - (GAP - 1)) * side for n in (heads, layers))
  panel = (max(heads * CELL_INCHES[0], 1.6), layers * CELL_INCHES[1])
  panels = 2 if maps.importance is not None else 1
  left, bottom, top = labels + 0.55, labels + 0.45, 0.95
  width = left + grid[0] + 0.75 + panel[0] + 0.3
  height = bottom + top + max(grid[1], panels * (panel[1] + 0.75) + 0.55)
  figure = Figure(
    (width, height),
    facecolor='white',
    dpi=min(130, PIXELS / max(width, height)),
  )

  def place(x: float, y: float, w: float, h: float) -> 'Axes':
    # Inches, from the upper left corner of the maps.
    return figure.add_axes(
      ((left + x) / width, 1 - (top + y + h) / height, w / width, h / height)
    )

  characters = int(width / 0.092)
  figure.text(
    0.15 / width,
    1 - 0.28 / height,
    textwrap.shorten(_text(maps), characters, placeholder=' …'),
    fontsize=10.5,
    weight='bold',
    parse_math=False,
  )
  figure.text(
    0.15 / width,
    1 - 0.48 / height,
    textwrap.shorten(
      f'{origin}: what each token (row) attends to (column)',
      int(characters * 1.25),
      placeholder=' …',
    ),
    fontsize=8.5,
    color='#555555',
    parse_math=False,
  )
  image = _draw_maps(place(0, 0, *grid), maps, points, every, side)
  x, y = grid[0] + 0.75, 0.15
  _draw_panel(
    place(x, y, *panel),
    maps,
    maps.entropies,
    'entropy, nats',
    'Blues',
    np.log(length),
    '.2f',
  )
  y += panel[1] + 0.75
  if maps.importance is not None:
    _draw_panel(
      place(x, y, *panel),
      maps,
      maps.importance,
      'importance, |dL/dmask|',
      'Oranges',
      max(float(maps.importance.max()), 1e-9),
      '.2g',
    )
    y += panel[1] + 0.75
  bar = figure.colorbar(
    image, cax=place(x, y, 1.6, 0.12), orientation='horizontal', ticks=TICKS
  )
  bar.ax.set_xticklabels([f'{tick:g}' for tick in TICKS])
  bar.ax.tick_params(labelsize=7, length=2)
  bar.ax.set_title('attention weight', fontsize=8.5, loc='left')
  with warnings.catch_warnings():  # matplotlib's font lacks some scripts
    warnings.filterwarnings('ignore', 'Glyph .* missing')
    figure.canvas.draw()
  return figure


def _text(maps: Maps) -> str:
  """Joins the tokens to words: 'un ##do' to 'undo'."""
  return ' '.join(maps.tokens[1:-1]).replace(' ##', '')


def _draw_maps(
  axes: 'Axes', maps: Maps, points: float, every: int, side: float
) -> 'AxesImage':
  """Draws all maps with gaps between them and returns the last one."""
  from matplotlib.colors import PowerNorm

  layers, heads, length, _ = maps.weights.shape
  step = length * GAP  # from one map to the next, in tokens
  for layer, head in np.ndindex(layers, heads):
    x, y = head * step - 0.5, layer * step - 0.5
    image = axes.imshow(
      maps.weights[layer, head],
      cmap='Blues',
      norm=PowerNorm(GAMMA, 0, 1),
      interpolation='nearest',
      extent=(x, x + length, y + length, y),
    )
    axes.add_patch(_frame(x, y, length))
  gap = step - length
  axes.set_xlim(-0.5, heads * step - gap - 0.5)
  axes.set_ylim(layers * step - gap - 0.5, -0.5)
  axes.set_aspect('auto')
  axes.spines[:].set_visible(False)
  axes.tick_params(length=0, pad=2)
  shown = range(0, length, every)
  tokens = [maps.tokens[i] for i in shown]
  options: dict[str, Any] = {'fontsize': points, 'parse_math': False}
  axes.set_yticks(
    [layer * step + i for layer in range(layers) for i in shown],
    tokens * layers,
    **options,
  )
  axes.set_xticks(
    [head * step + i for head in range(heads) for i in shown],
    tokens * heads,
    rotation=90,
    **options,
  )
  for head in range(heads):
    axes.text(
      head * step + length / 2 - 0.5,
      -0.5 - 0.06 * length / side,
      f'head {head}',
      ha='center',
      va='bottom',
      fontsize=8.5,
    )
  margin = max(map(len, maps.tokens)) * LABEL_INCHES * points / LABEL_POINTS
  for row, layer in enumerate(maps.layers):
    axes.text(
      -0.5 - (margin + 0.2) * length / side,
      row * step + length / 2 - 0.5,
      f'layer {layer}',
      rotation=90,
      ha='right',
      va='center',
      fontsize=8.5,
    )
  return image


def _frame(x: float, y: float, length: int) -> 'Rectangle':
  from matplotlib.patches import Rectangle

  return Rectangle(
    (x, y),
    length,
    length,
    fill=False,
    linewidth=0.5,
    edgecolor='#999999',
    clip_on=False,
  )


def _draw_panel(
  axes: 'Axes',
  maps: Maps,
  values: np.ndarray,
  title: str,
  colours: str,
  most: float,
  digits: str,
) -> None:
  """Draws a number for each head of each layer.

  Args:
    axes: to draw on.
    maps: names the layers.
    values: float[N, H].
    title: of the panel.
    colours: name of a colour map, from 0 to `most`.
    most: the largest value there can be.
    digits: format of the numbers.
  """
  axes.imshow(values, cmap=colours, vmin=0, vmax=most, aspect='auto')
  for row, column in np.ndindex(*values.shape):
    value = float(values[row, column])
    axes.text(
      column,
      row,
      f'{value:{digits}}',
      ha='center',
      va='center',
      fontsize=7,
      color='white' if value > 0.6 * most else '#222222',
    )
  axes.set_title(title, fontsize=8.5, loc='left')
  axes.set_xticks(range(values.shape[1]))
  axes.set_yticks(range(values.shape[0]), list(map(str, maps.layers)))
  axes.set_xlabel('head', fontsize=8, labelpad=1)
  axes.set_ylabel('layer', fontsize=8, labelpad=1)
  axes.tick_params(labelsize=7, length=0)
  axes.spines[:].set_visible(False)
