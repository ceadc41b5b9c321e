"""Line charts as SVG, which a page embeds and the browser scales.

    >>> svg = lines('loss', [Line('a', [1, 2], [3.0, 2.5])])
    >>> svg[:42]
    '<figure><figcaption>loss</figcaption><svg '

Colours are CSS classes (`c0` to `c7`), so they follow the page's light or dark
theme.
"""

import dataclasses
import html
import math
from collections.abc import Sequence

COLOURS = 8
_WIDTH, _HEIGHT = 440, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 10, 26
# Weight of the previous mean, as in TensorBoard; 0.8 averages five points.
_SMOOTHING = 0.8


@dataclasses.dataclass(frozen=True)
class Line:
  """One curve.

  Attributes:
    label: shown when the pointer rests on the curve.
    steps: of the points, ascending.
    values: of the points; nan is left out.
    colour: number of the CSS class, modulo `COLOURS`.
    dashed: whether the line is dashed; it is then not smoothed.
    exact: whether the values have no noise, so need no smoothing.
  """

  label: str
  steps: Sequence[float]
  values: Sequence[float]
  colour: int = 0
  dashed: bool = False
  exact: bool = False


def lines(title: str, curves: Sequence[Line], logarithmic: bool = False) -> str:
  """Returns a <figure> of the curves; long ones are also drawn smoothed.

  Args:
    title: of the figure.
    curves: an empty text is returned if they have no finite point.
    logarithmic: whether the y axis is; values up to 0 are then left out.
  """
  shown = [
    [
      (x, y)
      for x, y in zip(curve.steps, curve.values, strict=True)
      if math.isfinite(y) and (y > 0 or not logarithmic)
    ]
    for curve in curves
  ]
  points = [point for some in shown for point in some]
  if not points:
    return ''
  if logarithmic:
    shown = [[(x, math.log10(y)) for x, y in some] for some in shown]
    points = [(x, math.log10(y)) for x, y in points]
  x_axis = _Axis([x for x, _ in points], _LEFT, _WIDTH - _RIGHT, 0)
  y_axis = _Axis([y for _, y in points], _HEIGHT - _BOTTOM, _TOP, 0.05)
  pieces = [_grid(x_axis, y_axis, logarithmic)]
  for curve, some in zip(curves, shown, strict=True):
    long = len(some) > 12 and not (curve.dashed or curve.exact)
    style = f'line c{curve.colour % COLOURS}'
    for name, drawn in (
      (('raw', some), ('', smooth(some)))
      if long
      else (('dashed' if curve.dashed else '', some),)
    ):
      path = ' '.join(
        f'{x_axis.at(x):.1f},{y_axis.at(y):.1f}' for x, y in drawn
      )
      pieces.append(
        f'<polyline class="{style} {name}" points="{path}">'
        f'<title>{html.escape(curve.label)}</title></polyline>'
      )
    if len(some) == 1:
      ((x, y),) = some
      pieces.append(
        f'<circle class="dot c{curve.colour % COLOURS}" r="3" '
        f'cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}"/>'
      )
  return (
    f'<figure><figcaption>{html.escape(title)}</figcaption>'
    f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
    f'aria-label="{html.escape(title)}">{"".join(pieces)}</svg></figure>'
  )


def smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
  """Returns the exponential moving average of (x, y) points.

  Bias-corrected as in Adam: the first point stays as it is.

      >>> [(x, round(y, 2)) for x, y in smooth([(0, 7.0), (1, 0.0)])]
      [(0, 7.0), (1, 3.11)]
  """
  total = weight = 0.0
  smoothed = []
  for x, y in points:
    total = _SMOOTHING * total + (1 - _SMOOTHING) * y
    weight = _SMOOTHING * weight + (1 - _SMOOTHING)
    smoothed.append((x, total / weight))
  return smoothed


def ticks(low: float, high: float, most: int = 6) -> list[float]:
  """Returns the multiples of a round step in [low, high].

  The step is 1, 2 or 5 times a power of ten.

      >>> ticks(0, 10)
      [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
  """
  span = high - low
  step = 10.0 ** math.floor(math.log10(span / most))
  step *= next(k for k in (1, 2, 5, 10, 20) if span / (k * step) <= most)
  first = math.ceil(low / step - 1e-9)
  return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
  """Returns the powers of ten in [low, high]; if few, their 2 and 5 too."""
  powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
  factors = (1,) if len(powers) > 4 else (1, 2, 5)
  values = [k * 10.0**power for power in powers for k in factors]
  return [value for value in values if low <= value <= high]


class _Axis:
  """Maps values to pixels."""

  def __init__(
    self, values: Sequence[float], begin: float, end: float, margin: float
  ):
    low, high = min(values), max(values)
    wide = (high - low) or abs(high) or 1.0
    self.low, self.high = low - margin * wide, high + margin * wide
    if low == high:
      self.low, self.high = low - wide / 2, high + wide / 2
    self._begin, self._end = begin, end

  def at(self, value: float) -> float:
    share = (value - self.low) / (self.high - self.low)
    return self._begin + share * (self._end - self._begin)


def _grid(x_axis: _Axis, y_axis: _Axis, logarithmic: bool) -> str:
  pieces = []
  marks = {value: value for value in ticks(y_axis.low, y_axis.high, 5)}
  if logarithmic:
    marks = {
      math.log10(value): value
      for value in log_ticks(10**y_axis.low, 10**y_axis.high)
    }
  for value, shown in marks.items():
    y = y_axis.at(value)
    pieces.append(
      f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" '
      f'y1="{y:.1f}" y2="{y:.1f}"/><text class="tick" x="{_LEFT - 6}" '
      f'y="{y + 4:.1f}" text-anchor="end">{number(shown)}</text>'
    )
  for value in ticks(x_axis.low, x_axis.high):
    pieces.append(
      f'<text class="tick" x="{x_axis.at(value):.1f}" y="{_HEIGHT - 8}" '
      f'text-anchor="middle">{number(value)}</text>'
    )
  return ''.join(pieces)


def number(value: float) -> str:
  """Formats a number in 4 digits.

      >>> number(12_000), number(0.00015), number(1e-7)
      ('12k', '0.00015', '1e-07')

  Numbers from 10,000 have a suffix: k, M, G or T.
  """
  if value and abs(value) >= 10_000 and abs(value) < 1e15:
    for size, letter in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
      if abs(value) >= size:
        return f'{value / size:.4g}{letter}'
  return f'{value:.4g}' if abs(value) > 1e-12 else '0'
