"""Texts of evaluations: written, dropped by a resumed run, read."""

from bertjax.runs import filled_masks, layout


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path):
  file = filled_masks.FilledMasks(str(tmp_path))
  file.resume(0)
  assert filled_masks.read(str(tmp_path)) == {}
  for step in (5, 10, 15):
    file.write(step, [f'ä {step}', 'b'])
  with open(tmp_path / layout.FILLED_MASKS, 'a') as cut_off:
    cut_off.write('{"step": 20, "te')
  file = filled_masks.FilledMasks(str(tmp_path))
  file.resume(10)
  file.write(12, ['c'])
  file.write(13, [])
  assert filled_masks.read(str(tmp_path)) == {
    5: ['ä 5', 'b'],
    10: ['ä 10', 'b'],
    12: ['c'],
  }
