import time

import numpy as np
import pytest

from bertjax.parallel import devices, partitioning
from bertjax.training import throughput


def test_pauses_do_not_count_and_waiting_is_a_share():
  clock = throughput.Clock(lambda batch: 1.5e9 * len(batch['segments']), 6e10)
  with clock.timed('evaluation'):
    time.sleep(0.2)
  with clock.timed('data_wait'):
    time.sleep(0.05)
  time.sleep(0.05)
  clock.count({'segments': np.array([[1, 2, 0], [1, 1, 1]])})
  speed = clock.speed()
  assert 0.1 <= speed['speed/step_seconds'] < 0.2
  assert 0.2 < speed['speed/data_wait_fraction'] < 0.8
  assert speed['speed/tokens_per_second'] * speed['speed/step_seconds'] == (
    pytest.approx(5)
  )
  assert speed['speed/sequences_per_second'] * speed['speed/step_seconds'] == (
    pytest.approx(3)
  )
  assert speed['speed/mfu'] * speed['speed/step_seconds'] == (
    pytest.approx(0.05)
  )
  assert 0.4 < speed['speed/evaluation_fraction'] < 0.8


def test_a_window_begins_without_what_was_before():
  clock = throughput.Clock()
  with clock.timed('checkpoint'):
    time.sleep(0.01)
  clock.count({'segments': np.ones((1, 2))})
  assert 'speed/checkpoint_fraction' in clock.speed()
  time.sleep(0.01)
  clock.count({'segments': np.ones((1, 2))})
  speed = clock.speed()
  assert 'speed/checkpoint_fraction' not in speed
  assert 'speed/mfu' not in speed


def test_the_peak_is_that_of_all_devices(monkeypatch):
  mesh = partitioning.make_mesh(data=4, tensor=2)
  assert throughput.peak(mesh) is None  # of CPUs
  monkeypatch.setattr(
    throughput.devices, 'find', lambda kind: devices.named('v5e')
  )
  assert throughput.peak(mesh) == 8 * 197e12


def test_a_part_of_a_batch_stands_for_the_whole():
  def speed(share, *rows):
    clock = throughput.Clock(lambda batch: batch['segments'].size, 1.0, share)
    for count in rows:
      clock.count({'segments': np.ones((count, 4), int)})
    speed = clock.speed()
    seconds = len(rows) * speed['speed/step_seconds']
    return [
      round(seconds * speed[f'speed/{name}'])
      for name in ('tokens_per_second', 'sequences_per_second', 'mfu')
    ]

  # Of batches with fewer rows the useful FLOPs are fewer.
  assert speed(1.0, 8, 2) == [40, 10, 40]
  assert speed(0.5, 4, 1) == speed(1.0, 8, 2)


def test_an_empty_window_has_no_speed():
  assert throughput.Clock().speed() == {}
