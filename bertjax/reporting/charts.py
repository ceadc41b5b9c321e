"""Lines as SVG, which a page holds and the browser scales.

    svg = charts.lines('loss', [charts.Line('a', [1, 2], [3.0, 2.5])])

Colours are CSS classes (`c0` to `c7`), so that they follow the page's light or
dark dress. Source: ours.
"""

import dataclasses
import html
import math
from collections.abc import Sequence

COLOURS = 8
_WIDTH, _HEIGHT = 440, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 10, 26
# Weight of what came before, as in TensorBoard; 0.8 is five points.
_SMOOTHING = 0.8


@dataclasses.dataclass(frozen=True)
class Line:
  """One curve.

  Attributes:
    label: said where the pointer rests on it.
    steps: of the points, in order.
    values: nan where there is none.
    colour: its number.
    dashed: whether it is drawn so.
    exact: whether it has no noise to be smoothed.
  """

  label: str
  steps: Sequence[float]
  values: Sequence[float]
  colour: int = 0
  dashed: bool = False
  exact: bool = False


def lines(title: str, curves: Sequence[Line], logarithmic: bool = False) -> str:
  """Returns a <figure> with the curves, raw and, where long, smoothed."""
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
  """Returns the exponential mean of each point and those before it.

  Unbiased: the first point is itself, as Adam corrects its means.
  """
  total = weight = 0.0
  smoothed = []
  for x, y in points:
    total = _SMOOTHING * total + (1 - _SMOOTHING) * y
    weight = _SMOOTHING * weight + (1 - _SMOOTHING)
    smoothed.append((x, total / weight))
  return smoothed


def ticks(low: float, high: float, most: int = 6) -> list[float]:
  """Returns round numbers from low to high: 1, 2 or 5 times a power of ten."""
  span = high - low
  step = 10.0 ** math.floor(math.log10(span / most))
  step *= next(k for k in (1, 2, 5, 10, 20) if span / (k * step) <= most)
  first = math.ceil(low / step - 1e-9)
  return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
  """Returns powers of ten from low to high; also 2 and 5 times where few."""
  powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
  factors = (1,) if len(powers) > 4 else (1, 2, 5)
  values = [k * 10.0**power for power in powers for k in factors]
  return [value for value in values if low <= value <= high]


class _Axis:
  """From values to pixels."""

  def __init__(self, values, begin: float, end: float, margin: float):
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
  """Returns 12,000 as '12k', 0.00015 as '0.00015', 1e-7 as '1e-07'."""
  if value and abs(value) >= 10_000 and abs(value) < 1e15:
    for size, letter in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
      if abs(value) >= size:
        return f'{value / size:.4g}{letter}'
  return f'{value:.4g}' if abs(value) > 1e-12 else '0'
