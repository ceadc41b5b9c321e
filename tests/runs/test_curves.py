"""curves.png, by what is in it."""

import math
import os

from bertjax.runs import curves, metrics_file

PANELS = ('mlm_loss', 'mlm_accuracy')


def test_curves_are_drawn_for_what_there_is(tmp_path):
  with metrics_file.Writer(str(tmp_path)) as writer:
    for step in (10, 20, 30):
      values = {'train/mlm_loss': 1 / step, 'train/grad_norm': math.nan}
      if step > 10:
        values |= {'eval/mlm_accuracy': 0.1, 'eval/mlm_baseline': 0.05}
      writer.write(step, values)
  path = curves.draw(str(tmp_path), PANELS)
  assert path == str(tmp_path / 'curves.png')
  with open(path, 'rb') as file:
    assert file.read(8) == b'\x89PNG\r\n\x1a\n'


def test_a_panel_has_a_line_for_each_place_and_its_baseline(
  tmp_path, monkeypatch
):
  drawn = []
  monkeypatch.setattr(
    curves.plotter, 'draw', lambda diagrams, path: drawn.extend(diagrams)
  )
  with metrics_file.Writer(str(tmp_path)) as writer:
    names = ('train/f1', 'eval/f1', 'eval/f1_baseline', 'eval_ax/f1', 'eval/x')
    writer.write(1, dict.fromkeys(names, 0.5))
  curves.draw(str(tmp_path), ('f1',))
  (panel,) = drawn
  assert panel.title == 'F1' and panel.vertical == 'F1 (higher is better)'
  assert [(line.label, line.baseline) for line in panel.lines] == [
    ('in training', False),
    ('held out', False),
    ('held out', True),
    ('held out, ax', False),
  ]


def test_without_metrics_there_is_no_picture(tmp_path):
  assert curves.draw(str(tmp_path), PANELS) is None
  assert os.listdir(tmp_path) == []
