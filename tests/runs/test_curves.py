"""curves.png, by what is in it."""

import math
import os

from bertjax.runs import curves, metrics_file

PANELS = (
  curves.Panel('loss', ('mlm_loss',)),
  curves.Panel('accuracy', ('mlm_accuracy', 'mlm_baseline')),
)


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


def test_metrics_that_share_a_panel_have_their_full_names(tmp_path):
  curve = ([1, 2], [0.5, 0.6])
  names = ('train/f1', 'eval/f1', 'eval/accuracy', 'eval/accuracy_baseline')
  lines = curves._lines(
    dict.fromkeys(names, curve), ('f1', 'accuracy', 'accuracy_baseline')
  )
  assert [(line.label, line.baseline) for line in lines] == [
    ('train/f1', False),
    ('eval/f1', False),
    ('eval/accuracy', False),
    ('eval', True),
  ]
  (line,) = curves._lines({'train/f1': curve, 'eval/loss': curve}, ('f1',))
  assert line.label == 'train'


def test_without_metrics_there_is_no_picture(tmp_path):
  assert curves.draw(str(tmp_path), PANELS) is None
  assert os.listdir(tmp_path) == []
