"""Learning rates at the knots, between them, and wrong numbers of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.training import schedules

SCHEDULES = {
  'linear': schedules.warmup_linear,
  'cosine': schedules.warmup_cosine,
  'trapezoid': schedules.warmup_trapezoid,
}
PEAK = 1e-3
every_schedule = pytest.mark.parametrize('name', SCHEDULES)


@every_schedule
def test_the_knots_are_where_they_are_documented(name):
  schedule = SCHEDULES[name](PEAK, 10, 100, end=1e-5)
  np.testing.assert_allclose(schedule(0), PEAK / 11, rtol=1e-6)
  np.testing.assert_allclose(schedule(10), PEAK, rtol=1e-6)
  # Half of cos(pi) + 1 is 0 only to rounding: relative to the peak.
  np.testing.assert_allclose(schedule(100), 1e-5, atol=1e-6 * PEAK)
  np.testing.assert_allclose(schedule(1000), 1e-5, atol=1e-6 * PEAK)


@every_schedule
def test_no_update_of_the_run_is_wasted(name):
  schedule = SCHEDULES[name](PEAK, 10, 100)
  assert (schedule(jnp.arange(100)) > 0).all()


@every_schedule
def test_it_rises_to_the_peak_and_never_rises_again(name):
  schedule = SCHEDULES[name](PEAK, 20, 100)
  rates = np.asarray(schedule(jnp.arange(101)))
  assert (np.diff(rates[:21]) > 0).all()
  assert (np.diff(rates[20:]) <= 0).all()


@every_schedule
def test_jit_gives_float32_and_the_same_values(name):
  schedule = SCHEDULES[name](PEAK, None, 1_000_000)
  compiled = jax.jit(schedule)
  for step in (0, 100_000, 777_777, 1_000_000):
    rate = compiled(jnp.int32(step))
    assert rate.dtype == jnp.float32 and rate.shape == ()
    np.testing.assert_allclose(rate, schedule(step), rtol=1e-6, atol=1e-10)


@every_schedule
def test_no_warmup_begins_at_the_peak(name):
  np.testing.assert_allclose(SCHEDULES[name](PEAK, 0, 100)(0), PEAK, rtol=1e-6)


@every_schedule
def test_none_is_a_tenth_of_the_run(name):
  steps = jnp.arange(200)
  by_default = SCHEDULES[name](PEAK, None, 200)(steps)
  by_hand = SCHEDULES[name](PEAK, 20, 200)(steps)
  np.testing.assert_array_equal(by_default, by_hand)


@every_schedule
def test_a_warmup_of_the_whole_run_only_rises(name):
  rates = SCHEDULES[name](PEAK, 10, 10)(jnp.arange(10))
  np.testing.assert_allclose(rates, PEAK * np.arange(1, 11) / 11, rtol=1e-6)


@every_schedule
def test_a_run_of_one_step_has_a_positive_rate(name):
  assert SCHEDULES[name](PEAK, None, 1)(0) > 0


def test_the_ways_down_differ_where_they_should():
  quarter = 10 + 90 // 4  # of the way down
  fallen = (quarter - 10) / 90
  linear, cosine, trapezoid = (
    SCHEDULES[name](PEAK, 10, 100)(quarter) / PEAK
    for name in ('linear', 'cosine', 'trapezoid')
  )
  np.testing.assert_allclose(linear, 1 - fallen, rtol=1e-5)
  np.testing.assert_allclose(
    cosine, 0.5 + 0.5 * np.cos(np.pi * fallen), rtol=1e-5
  )
  assert trapezoid == 1


def test_the_trapezoid_falls_over_its_last_steps():
  schedule = schedules.warmup_trapezoid(PEAK, 10, 100, decay_steps=20)
  np.testing.assert_allclose(schedule(80), PEAK, rtol=1e-6)
  np.testing.assert_allclose(schedule(90), PEAK / 2, rtol=1e-5)
  by_default = schedules.warmup_trapezoid(PEAK, 10, 100)
  np.testing.assert_allclose(by_default(95), PEAK / 2, rtol=1e-5)


@every_schedule
@pytest.mark.parametrize(
  'warmup_steps, total_steps, words',
  [
    (
      500,
      100,
      'expected 0 to TRAIN_STEPS 100 steps of warmup, got 500; set WARMUP',
    ),
    (-1, 100, 'got -1; set WARMUP_STEPS'),
    (None, 0, 'expected 1 step or more, got 0; set TRAIN_STEPS'),
  ],
)
def test_wrong_steps_are_one_clear_line(name, warmup_steps, total_steps, words):
  with pytest.raises(UserError, match=words) as raised:
    SCHEDULES[name](PEAK, warmup_steps, total_steps)
  assert '\n' not in str(raised.value)


def test_a_decay_that_does_not_fit_is_one_clear_line():
  with pytest.raises(UserError, match='WARMUP_STEPS 50 of .* got 60; set warm'):
    schedules.warmup_trapezoid(PEAK, 50, 100, decay_steps=60)
