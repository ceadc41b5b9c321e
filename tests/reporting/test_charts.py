"""Curves as SVG."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from bertjax.reporting import charts


def points(svg):
  return [
    [tuple(map(float, pair.split(','))) for pair in found.split()]
    for found in re.findall(r'points="(.*?)"', svg)
  ]


def test_points_lie_where_their_values_do():
  ElementTree.fromstring(
    svg := charts.lines(
      'loss < 3', [charts.Line('a & b', [0, 50, 100], [3.0, 2.0, 1.0])]
    )
  )
  ((first, second, third),) = points(svg)
  assert first[0] < second[0] < third[0] and first[1] < second[1] < third[1]
  assert second[0] == pytest.approx((first[0] + third[0]) / 2, abs=0.1)
  assert second[1] == pytest.approx((first[1] + third[1]) / 2, abs=0.1)


def test_what_is_not_finite_or_has_no_logarithm_is_left_out():
  nan = charts.lines('x', [charts.Line('a', [1, 2, 3], [1.0, math.nan, 2.0])])
  assert [len(line) for line in points(nan)] == [2]
  zero = charts.lines(
    'x', [charts.Line('a', [1, 2, 3], [1.0, 0.0, 10.0])], logarithmic=True
  )
  assert [len(line) for line in points(zero)] == [2]
  assert charts.lines('x', [charts.Line('a', [1], [math.nan])]) == ''


def test_long_curves_are_drawn_raw_and_smoothed():
  line = charts.Line('a', list(range(20)), [float(i % 2) for i in range(20)])
  raw, smooth = points(charts.lines('x', [line]))
  height = [max(y for _, y in p) - min(y for _, y in p) for p in (raw, smooth)]
  assert len(raw) == len(smooth) == 20 and height[1] < height[0]
  exact = charts.Line('a', line.steps, line.values, exact=True)
  assert len(points(charts.lines('x', [exact]))) == 1


def test_smoothing_begins_at_the_first_point_and_keeps_a_constant():
  assert charts.smooth([(0, 5.0), (1, 5.0), (2, 5.0)])[2][1] == (
    pytest.approx(5.0)
  )
  assert charts.smooth([(0, 7.0), (1, 0.0)])[0][1] == pytest.approx(7.0)


@pytest.mark.parametrize(
  'low, high, expected',
  [
    (0, 10, [0, 2, 4, 6, 8, 10]),
    (0.021, 0.049, [0.025, 0.03, 0.035, 0.04, 0.045]),
    (-1, 1, [-1, -0.5, 0, 0.5, 1]),
  ],
)
def test_ticks_are_round_numbers(low, high, expected):
  assert charts.ticks(low, high) == pytest.approx(expected)


def test_ticks_of_logarithms_are_powers_or_parts_of_them():
  assert charts.log_ticks(0.3, 6) == pytest.approx([0.5, 1, 2, 5])
  assert charts.log_ticks(1e-4, 1e4) == pytest.approx(
    [10.0**power for power in range(-4, 5)]
  )


@pytest.mark.parametrize(
  'value, text',
  [
    (25180.4, '25.18k'),
    (2800, '2800'),
    (0.00015, '0.00015'),
    (0, '0'),
    (3.4e8, '340M'),
    (0.15824, '0.1582'),
    (1e-16, '0'),
  ],
)
def test_numbers_are_short(value, text):
  assert charts.number(value) == text
