"""Texts of evaluations: written, dropped by a resumed run, read."""

from bertjax.training import examples


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path):
  file = examples.Examples(str(tmp_path))
  file.resume(0)
  assert examples.read(str(tmp_path)) == {}
  for step in (5, 10, 15):
    file.write(step, [f'ä {step}', 'b'])
  with open(tmp_path / examples.EXAMPLES, 'a') as cut_off:
    cut_off.write('{"step": 20, "te')
  file = examples.Examples(str(tmp_path))
  file.resume(10)
  file.write(12, ['c'])
  file.write(13, [])
  assert examples.read(str(tmp_path)) == {
    5: ['ä 5', 'b'],
    10: ['ä 10', 'b'],
    12: ['c'],
  }
