"""What is in a picture, read back from its SVG."""

import io
import re

import numpy as np
import pytest

from bertjax.runs import plotter
from bertjax.runs.plotter import Diagram, Line


def svg(*diagrams):
  file = io.StringIO()
  assert plotter.draw(diagrams, file, 'svg')
  return file.getvalue()


def curves(text):
  """Returns (colour, whether dashed, points[:, 2] from the top) of lines."""
  found = re.findall(
    r'<path d="([^"]*)" clip-path="[^"]*" style="fill: none;([^"]*)"', text
  )
  return [
    (
      re.search('stroke: (#[0-9a-f]+)', style)[1],
      'dasharray' in style,
      np.array(re.findall(r'[ML] (\S+) (\S+)', path), float),
    )
    for path, style in found
    if '#b0b0b0' not in style  # of the grid
  ]


def test_points_lie_where_their_values_do():
  ((_, _, points),) = curves(
    svg(Diagram('loss', [Line('a', [0, 50, 100, 150], [3.0, 1.0, 2.0, 0.0])]))
  )
  x, y = points.T
  np.testing.assert_allclose(np.diff(x), x[1] - x[0], rtol=1e-3)
  assert (y[1] - y[0]) / (y[3] - y[0]) == pytest.approx(2 / 3, rel=1e-3)


def test_a_label_has_one_colour_and_one_entry_in_the_legend():
  text = svg(
    Diagram('loss', [Line('a', [1, 2], [1, 2]), Line('b', [1, 2], [2, 1])]),
    Diagram('accuracy', [Line('b', [1, 2], [1, 2])]),
  )
  (a, *_), (b, *_), (again, *_), *legend = curves(text)
  assert a != b == again
  assert text.count('>a</text>') == text.count('>b</text>') == 1
  alone = svg(Diagram('loss', [Line('a', [1, 2], [1, 2])]))
  assert '>a</text>' in alone and '>loss</text>' in alone


def test_a_legend_of_many_runs_is_not_cut_off_and_leaves_room_for_curves():
  lines = [
    Line(f'a run of a long name, {i}', [1, 2], [1, 2]) for i in range(60)
  ]
  text = svg(Diagram('x', lines), Diagram('y', lines))
  width = float(re.search(r'viewBox="0 0 (\S+)', text)[1])
  starts = re.findall(r'x="(\S+)" y="\S+" transform="[^"]*">a run', text)
  assert len(starts) == 60
  assert max(map(float, starts)) + 24 * 5 < width
  _, _, points = curves(text)[0]
  assert np.ptp(points[:, 1]) > 100


def test_an_svg_has_no_background():
  text = svg(Diagram('x', [Line('a', [1, 2], [1, 2])]))
  assert 'fill: #ffffff' not in text


def test_labels_are_shown_as_they_are():
  lines = [Line(x, [1, 2], [1, 2]) for x in ('_a', '$b$', '<c>')]
  text = svg(Diagram('loss', lines))
  for label in ('_a', '$b$', '&lt;c&gt;'):
    assert f'>{label}</text>' in text


def test_a_baseline_is_dashed_in_the_colour_of_its_curve():
  text = svg(
    Diagram(
      'accuracy',
      [Line('a', [1, 2], [0, 1]), Line('a', [2], [0.5], baseline=True)],
    )
  )
  (colour, dashed, points), (its, is_dashed, line), *_ = curves(text)
  assert (its, dashed, is_dashed) == (colour, False, True)
  assert line[:, 1] == pytest.approx(points[:, 1].mean(), rel=1e-3)
  assert text.count('>reached without reading</text>') == 1


def test_seeds_are_a_band():
  values = np.array([[1.0, 2.0], [3.0, 5.0], [2.0, 3.0]])
  text = svg(Diagram('loss', [Line('usual', [1, 2], values)]))
  drawn = [each for each in curves(text) if len(each[2]) and each[2][0, 1] > 30]
  assert len(drawn) == 3 and text.count('FillBetween') == 1
  assert '>thin lines: 3 seeds; band: least to greatest</text>' in text


def test_what_is_not_finite_or_has_no_logarithm_is_left_out():
  ((_, _, points),) = curves(
    svg(Diagram('x', [Line('a', [1, 2, 3], [1.0, np.nan, 2.0])]))
  )
  assert len(points) == 2
  ((_, _, points),) = curves(
    svg(Diagram('x', [Line('a', [1, 2, 3], [0.0, 1.0, 10.0])], 'log'))
  )
  assert len(points) == 2
  nothing = Diagram('nothing', [Line('a', [1], [np.nan])])
  assert not plotter.draw([nothing], io.StringIO(), 'svg')
  assert '>nothing<' not in svg(nothing, Diagram('x', [Line('a', [1], [1])]))


@pytest.mark.parametrize('count', [1, 2, 3, 5, 7, 8])
def test_there_are_as_many_axes_as_diagrams(count):
  line = Line('a', [1, 2], [1, 2])
  text = svg(*(Diagram(str(i), [line]) for i in range(count)))
  assert len(set(re.findall(r'id="(axes_\d+)"', text))) == count


def test_long_curves_are_drawn_raw_and_smoothed():
  def line(length):
    values = np.arange(length) % 2
    return Line('a', np.arange(length), values, smoothed=True)

  (_, _, raw), (_, _, smooth) = curves(svg(Diagram('x', [line(100)])))
  assert np.ptp(smooth[20:, 1]) < 0.3 * np.ptp(raw[:, 1])
  assert len(curves(svg(Diagram('x', [line(20)])))) == 1
  assert (
    len(curves(svg(Diagram('x', [line(100)._replace(smoothed=False)])))) == 1
  )


def test_smoothing_begins_at_the_first_value_and_keeps_a_constant():
  assert plotter.smooth(np.full(200, 5.0)) == pytest.approx(5.0)
  expected, total, weight = [], 0.0, 0.0
  values = np.random.default_rng(0).normal(size=200)
  for value in values:
    total, weight = 0.8 * total + 0.2 * value, 0.8 * weight + 0.2
    expected.append(total / weight)
  np.testing.assert_allclose(plotter.smooth(values), expected, atol=1e-5)


def test_bars_stand_on_zero_and_are_as_high_as_their_values():
  text = svg(
    Diagram('x', [Line('', [0, 1, 2], [4, 2, 1], bars=True)], names='abc')
  )
  paths = re.findall(r'<path d="M ([^"]*)z[^"]*" clip-path', text)
  corners = [
    np.array(re.findall(r'(\S+) (\S+) ?\n', path), float) for path in paths
  ]
  heights = [np.ptp(y) for _, y in (x.T for x in corners)]
  assert heights == pytest.approx([heights[2] * 4, heights[2] * 2, heights[2]])
  assert len({y.max() for _, y in (x.T for x in corners)}) == 1


def test_long_names_side_by_side_are_tilted_though_others_are_short():
  def tilted(*names):
    line = Line('', range(len(names)), range(len(names)), bars=True)
    return 'rotate(-25' in svg(Diagram('x', [line], names=names))

  few = ('50', '100', '200', '500', '1,000', '2,000', '5,000')
  assert tilted(*few, '10,000') and not tilted(*few)
