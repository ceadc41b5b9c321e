"""The picture: its size, its labels, nothing that matplotlib complains of."""

import warnings

import numpy as np
import pytest

from bertjax.inspection import figure
from bertjax.inspection.maps import Maps


@pytest.mark.parametrize('layers, heads, length', [(1, 1, 2), (2, 3, 60)])
def test_a_picture_of_any_size_has_its_labels_inside(layers, heads, length):
  tokens = ('[CLS]', *['$ab$'] * (length - 2), '[SEP]')
  weights = np.full((layers, heads, length, length), 1 / length, np.float32)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    drawn = figure.draw(
      Maps(
        tokens, None, tuple(range(layers)), weights, np.zeros((layers, heads))
      ),
      'runs/books',
    )
    drawn.draw_without_rendering()
  inside = drawn.bbox
  maps, _, entropies, _ = drawn.axes
  for axes in drawn.axes:
    box = axes.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= inside.x1 and box.y1 <= inside.y1
  assert not maps.get_tightbbox().overlaps(entropies.get_tightbbox())
  labels = [text.get_text() for text in maps.get_xticklabels()]
  assert labels[0] == '[CLS]' and '$ab$' in labels + ['$ab$'] * (length < 3)
  assert [text.get_text() for text in entropies.texts] == [
    f'{np.log(length):.2f}'
  ] * (layers * heads)
