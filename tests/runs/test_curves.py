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
    writer.resume(0)
    for step in (10, 20, 30):
      values = {'train/mlm_loss': 1 / step, 'train/grad_norm': math.nan}
      if step > 10:
        values |= {'eval/mlm_accuracy': 0.1, 'eval/mlm_baseline': 0.05}
      writer.write(step, values)
  path = curves.draw(str(tmp_path), PANELS)
  assert path == str(tmp_path / 'curves.png')
  with open(path, 'rb') as file:
    assert file.read(8) == b'\x89PNG\r\n\x1a\n'


def test_without_metrics_there_is_no_picture(tmp_path):
  assert curves.draw(str(tmp_path), PANELS) is None
  assert os.listdir(tmp_path) == []
