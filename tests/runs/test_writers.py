"""Metrics survive kills and come back exactly; curves and the live line."""

import io
import json
import math
import os
import resource
import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from bertjax.errors import UserError
from bertjax.runs import writers


def write(directory, steps, resume=0):
  with writers.Writer(str(directory)) as writer:
    writer.resume(resume)
    for step in steps:
      writer.write(step, {'train/loss': step / 3})


def read_lines(directory):
  text = (directory / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def read_events(directory):
  """Returns (step, tag, value) by TensorBoard's record format, all files."""
  found = []
  for path in sorted((directory / 'tensorboard').iterdir()):
    content = path.read_bytes()
    while content:
      (size,) = struct.unpack('<Q', content[:8])
      event = Event.FromString(content[12 : 12 + size])
      found += [
        (event.step, v.tag, v.simple_value) for v in event.summary.value
      ]
      content = content[12 + size + 4 :]
  return found


def test_a_step_is_one_line_with_its_names(tmp_path):
  with writers.Writer(str(tmp_path)) as writer:
    writer.resume(0)
    writer.write(5, {'train/loss': 1.5, 'eval/mlm_loss': np.float32(2.5)})
    # Flushed at once: nothing waits for `close`.
    assert read_lines(tmp_path) == [
      {'step': 5, 'train/loss': 1.5, 'eval/mlm_loss': 2.5}
    ]


def test_float32_comes_back_exactly(tmp_path):
  rng = np.random.default_rng(0)
  bits = rng.integers(0, 2**32, 2000, dtype=np.uint32)
  numbers = bits.view(np.float32)
  numbers = numbers[np.isfinite(numbers)]
  with writers.Writer(str(tmp_path)) as writer:
    writer.resume(0)
    writer.write(1, {str(i): x for i, x in enumerate(numbers)})
  (record,) = read_lines(tmp_path)
  record.pop('step')
  back = np.array(list(record.values()), np.float32)
  assert back.tobytes() == numbers.tobytes()


def test_what_is_not_finite_is_null_and_valid_json(tmp_path):
  with writers.Writer(str(tmp_path)) as writer:
    writer.resume(0)
    writer.write(1, {'a': math.nan, 'b': math.inf, 'c': 0.5})
  line = (tmp_path / 'metrics.jsonl').read_text()
  refuse = lambda word: pytest.fail(f'{word} is no JSON')  # noqa: E731
  record = json.loads(line, parse_constant=refuse)
  assert record == {'step': 1, 'a': None, 'b': None, 'c': 0.5}
  assert math.isnan(writers.read_metrics(str(tmp_path))['a'][1][0])


def test_resuming_drops_later_steps_and_keeps_the_earlier(tmp_path):
  write(tmp_path, [10, 20, 30, 40])
  write(tmp_path, [30, 40, 50], resume=20)
  assert [r['step'] for r in read_lines(tmp_path)] == [10, 20, 30, 40, 50]


def test_resuming_rewrites_no_byte_of_what_it_keeps(tmp_path):
  write(tmp_path, range(1, 50))
  before = (tmp_path / 'metrics.jsonl').read_bytes()
  write(tmp_path, range(30, 50), resume=29)
  assert (tmp_path / 'metrics.jsonl').read_bytes() == before


@pytest.mark.parametrize('cut', range(1, 12))
def test_a_line_that_was_cut_off_by_a_kill_is_dropped(tmp_path, cut):
  write(tmp_path, [10, 20])
  path = tmp_path / 'metrics.jsonl'
  path.write_bytes(path.read_bytes()[:-cut])
  write(tmp_path, [20, 30], resume=10)
  assert [r['step'] for r in read_lines(tmp_path)] == [10, 20, 30]


def test_a_step_is_not_written_twice(tmp_path):
  write(tmp_path, [10, 20])
  with pytest.raises(ValueError, match='step 20 after step 20'):
    write(tmp_path, [20], resume=20)


def test_tensorboard_gets_the_same_numbers(tmp_path):
  write(tmp_path, [10, 20])
  assert read_events(tmp_path) == [
    (10, 'train/loss', pytest.approx(10 / 3)),
    (20, 'train/loss', pytest.approx(20 / 3)),
  ]


def test_metrics_are_read_as_curves(tmp_path):
  write(tmp_path, [3, 6])
  assert writers.read_metrics(str(tmp_path)) == {
    'train/loss': ([3, 6], [1.0, 2.0])
  }
  assert writers.read_metrics(str(tmp_path / 'nothing')) == {}


def test_a_full_disk_is_one_line(tmp_path):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:  # a limit on the size of files fails as a full disk does
    with pytest.raises(UserError, match='metrics.jsonl') as raised:
      with writers.Writer(str(tmp_path)) as writer:
        writer.resume(0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        writer.write(1, {str(i): 0.5 for i in range(30)})
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert '\n' not in str(raised.value)


def test_curves_are_drawn_for_what_there_is(tmp_path):
  with writers.Writer(str(tmp_path)) as writer:
    writer.resume(0)
    for step in (10, 20, 30):
      values = {'train/mlm_loss': 1 / step, 'train/grad_norm': math.nan}
      if step > 10:
        values |= {'eval/mlm_accuracy': 0.1, 'eval/mlm_baseline': 0.05}
      writer.write(step, values)
  path = writers.curves(str(tmp_path))
  assert path == str(tmp_path / 'curves.png')
  with open(path, 'rb') as file:
    assert file.read(8) == b'\x89PNG\r\n\x1a\n'


def test_without_metrics_there_is_no_picture(tmp_path):
  assert writers.curves(str(tmp_path)) is None
  assert os.listdir(tmp_path) == []


class Terminal(io.StringIO):
  def isatty(self):
    return True


VALUES = {
  'train/loss': 5.12345,
  'speed/step_seconds': 0.08,
  'speed/tokens_per_second': 50381.4,
}


def test_without_a_terminal_each_update_is_a_plain_line():
  stream = io.StringIO()
  with writers.Progress(1500, stream=stream) as progress:
    progress.update(500, VALUES)
    progress.note('saved')
    progress.update(1500, VALUES)
  middle = '   loss 5.1235   12.5 steps/s   50,381 tokens/s   '
  assert stream.getvalue().splitlines() == [
    f'step 500/1500{middle}1:20 left',
    'saved',
    f'step 1500/1500{middle}0:00 left',
  ]


def test_on_a_terminal_one_line_is_rewritten_and_notes_stay_above():
  stream = Terminal()
  with writers.Progress(1500, stream=stream) as progress:
    progress.note('begins')
    progress.update(500, VALUES)
    progress.update(600, VALUES)
    progress.note('saved')
  # What stays on the screen of each line: all after the last erasure.
  screen = [
    line.split('\r\x1b[K')[-1] for line in stream.getvalue().split('\n')
  ]
  assert screen[:2] == ['begins', 'saved']
  assert screen[2].startswith('step 600/1500')
  assert screen[3] == ''


def test_a_terminal_line_never_wraps(monkeypatch):
  monkeypatch.setenv('COLUMNS', '20')
  stream = Terminal()
  with writers.Progress(1500, stream=stream) as progress:
    progress.update(500, VALUES)
  assert len(stream.getvalue().strip().split('\x1b[K')[-1]) < 20


def test_the_rate_is_timed_where_it_is_not_given():
  stream = io.StringIO()
  progress = writers.Progress(100, step=50, stream=stream)
  progress.update(60, {})
  assert 'steps/s' in stream.getvalue() and 'left' in stream.getvalue()
