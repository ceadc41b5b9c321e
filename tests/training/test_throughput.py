import time

import numpy as np

from bertjax.training import throughput


def test_pauses_do_not_count_and_waiting_is_a_share():
  clock = throughput.Clock()
  with clock.paused():
    time.sleep(0.2)
  with clock.waiting():
    time.sleep(0.05)
  time.sleep(0.05)
  clock.count({'segments': np.array([[1, 1, 0]])})
  speed = clock.speed()
  assert 0.1 <= speed['speed/step_seconds'] < 0.2
  assert 0.2 < speed['speed/data_wait_fraction'] < 0.8
  assert speed['speed/tokens_per_second'] * speed['speed/step_seconds'] == 2


def test_an_empty_window_has_no_speed():
  assert throughput.Clock().speed() == {}
