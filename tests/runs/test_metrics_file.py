"""Metrics and examples survive kills and come back exactly."""

import json
import math
import resource
import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from bertjax.errors import UserError
from bertjax.runs import layout, metrics_file


def write(directory, steps, resume=0):
  with metrics_file.Writer(str(directory), resume) as writer:
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
  with metrics_file.Writer(str(tmp_path)) as writer:
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
  with metrics_file.Writer(str(tmp_path)) as writer:
    writer.write(1, {str(i): x for i, x in enumerate(numbers)})
  (record,) = read_lines(tmp_path)
  record.pop('step')
  back = np.array(list(record.values()), np.float32)
  assert back.tobytes() == numbers.tobytes()


def test_what_is_not_finite_is_null_and_valid_json(tmp_path):
  with metrics_file.Writer(str(tmp_path)) as writer:
    writer.write(1, {'a': math.nan, 'b': math.inf, 'c': 0.5})
  line = (tmp_path / 'metrics.jsonl').read_text()
  refuse = lambda word: pytest.fail(f'{word} is no JSON')  # noqa: E731
  record = json.loads(line, parse_constant=refuse)
  assert record == {'step': 1, 'a': None, 'b': None, 'c': 0.5}
  assert math.isnan(metrics_file.read_metrics(str(tmp_path))['a'][1][0])


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
  assert metrics_file.read_metrics(str(tmp_path)) == {
    'train/loss': ([3, 6], [1.0, 2.0])
  }
  assert metrics_file.read_metrics(str(tmp_path / 'nothing')) == {}


def test_a_full_disk_is_one_line(tmp_path):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:  # a limit on the size of files fails as a full disk does
    with pytest.raises(UserError, match='metrics.jsonl') as raised:
      with metrics_file.Writer(str(tmp_path)) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        writer.write(1, {str(i): 0.5 for i in range(30)})
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert '\n' not in str(raised.value)


def test_a_resumed_run_drops_examples_that_came_after_its_checkpoint(tmp_path):
  run_dir = str(tmp_path)
  with metrics_file.Writer(run_dir) as writer:
    assert metrics_file.read_examples(run_dir) == {}
    for step in (5, 10, 15):
      writer.write(step, {'a': 0.5}, [f'ä {step}', 'b'])
  with open(tmp_path / layout.EXAMPLES, 'a') as cut_off:
    cut_off.write('{"step": 20, "te')
  with metrics_file.Writer(run_dir, 10) as writer:
    writer.write(12, {'a': 0.5}, ['c'])
    writer.write(13, {'a': 0.5}, [])
  assert metrics_file.read_examples(run_dir) == {
    5: ['ä 5', 'b'],
    10: ['ä 10', 'b'],
    12: ['c'],
  }


def test_without_examples_there_is_no_file_of_them(tmp_path):
  write(tmp_path, [10])
  assert not (tmp_path / layout.EXAMPLES).exists()
