"""curves.png, by what is in it."""

import math
import os

from bertjax.models.config import EncoderConfig
from bertjax.runs import curves, metrics_file, model_file

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


def test_what_guessing_reaches_is_dashed_unless_more_is_known(
  tmp_path, monkeypatch
):
  drawn = []
  monkeypatch.setattr(
    curves.plotter, 'draw', lambda diagrams, path: drawn.extend(diagrams)
  )
  facts = model_file.read_objective(str(tmp_path))
  chances = {'a_accuracy': 0.25, 'b_accuracy': 0.5, 'c_loss': 1.5}
  model_file.write(
    str(tmp_path),
    {'': EncoderConfig(9, 8, 1, 1, 8)},
    facts._replace(chances=chances),
  )
  with metrics_file.Writer(str(tmp_path)) as writer:
    names = ('a_accuracy', 'b_accuracy', 'c_loss', 'd_loss')
    both = (f'{group}/{name}' for group in ('train', 'eval') for name in names)
    values = dict.fromkeys(both, 0.75) | {'eval/b_baseline': 0.625}
    writer.write(1, values | {'eval/d_loss_baseline': 2.0})
  curves.draw(str(tmp_path), names)
  dashed = [
    [(line.label, line.values) for line in panel.lines if line.baseline]
    for panel in drawn
  ]
  assert dashed == [
    [('held out', [0.25])],
    [('held out', [0.625])],
    [('held out', [1.5])],
    [('held out', [2.0])],
  ]


def test_without_metrics_there_is_no_picture(tmp_path):
  assert curves.draw(str(tmp_path), PANELS) is None
  assert os.listdir(tmp_path) == []
