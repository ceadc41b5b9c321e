"""Learning-rate schedules: a linear warmup, then one of three ways down.

    >>> schedule = warmup_linear(1e-4, warmup_steps=None, total_steps=10_000)
    >>> [f'{schedule(step):.1e}' for step in (0, 1_000, 10_000)]
    ['1.0e-07', '1.0e-04', '0.0e+00']

A schedule maps the number of updates already made (0 before the first one) to
the learning rate of the next, as every optax schedule does. All three give
peak / (W + 1) for 0, peak for W = warmup_steps, and end for T = total_steps.
Updates 0 to T - 1 are made, so W of them lie below the peak and the last one is
still above `end`: none is wasted. Past T the rate stays at `end`.

Deviation: google-research/bert (optimization.py) warms up as peak * step / W,
so its first update has learning rate 0 and does nothing, and its decay ignores
the warmup, so it drops from peak to peak * (1 - W / T) in one step. Our ramp
differs from its by at most peak / (W + 1).

Source: Devlin et al. 2019, appendix A.2; cosine, Loshchilov and Hutter 2017;
trapezoid (warmup-stable-decay), Hu et al. 2024 (MiniCPM), section 4.
"""

import jax
import jax.numpy as jnp
import optax

from bertjax.errors import expect


def warmup_linear(
  peak: float,
  warmup_steps: int | None,
  total_steps: int,
  end: float = 0.0,
) -> optax.Schedule:
  """BERT's schedule: warms up to `peak`, then falls in a straight line.

  Args:
    peak: the highest learning rate.
    warmup_steps: updates below the peak; None: a tenth of `total_steps`.
    total_steps: updates in the run.
    end: learning rate from `total_steps` on.

  Returns:
    step (int, or int32 of any shape) -> float32 of that shape; traceable.

  Raises:
    UserError: the warmup exceeds the run.
  """
  warmup_steps = _warmup(warmup_steps, total_steps)
  decay_steps = total_steps - warmup_steps
  return warmup_trapezoid(peak, warmup_steps, total_steps, decay_steps, end)


def warmup_cosine(
  peak: float,
  warmup_steps: int | None,
  total_steps: int,
  end: float = 0.0,
) -> optax.Schedule:
  """Warms up to `peak`, then falls along half a cosine; see `warmup_linear`."""
  warmup_steps = _warmup(warmup_steps, total_steps)

  def schedule(step):
    fallen = _fraction(step, warmup_steps, total_steps)
    height = (1 + jnp.cos(jnp.pi * fallen)) / 2
    return _ramp(step, warmup_steps) * (end + (peak - end) * height)

  return schedule


def warmup_trapezoid(
  peak: float,
  warmup_steps: int | None,
  total_steps: int,
  decay_steps: int | None = None,
  end: float = 0.0,
) -> optax.Schedule:
  """Warms up, stays at `peak`, and falls linearly over the last `decay_steps`.

  `decay_steps` None: a tenth of `total_steps`, which Hu et al. 2024 found to be
  enough. A run can be prolonged from any checkpoint before the decay. The other
  arguments are those of `warmup_linear`.
  """
  warmup_steps = _warmup(warmup_steps, total_steps)
  most = total_steps - warmup_steps
  if decay_steps is None:
    decay_steps = min(total_steps // 10, most)
  what = f'0 to {most} steps of decay after WARMUP_STEPS {warmup_steps} of '
  what += f'TRAIN_STEPS {total_steps}'
  setting = 'warmup_trapezoid.decay_steps'
  expect(0 <= decay_steps <= most, what, decay_steps, setting)

  def schedule(step):
    fallen = _fraction(step, total_steps - decay_steps, total_steps)
    return _ramp(step, warmup_steps) * (peak + (end - peak) * fallen)

  return schedule


def _warmup(warmup_steps: int | None, total_steps: int) -> int:
  """Returns the checked number of warmup steps, a tenth of the run if None."""
  expect(total_steps >= 1, '1 step or more', total_steps, 'TRAIN_STEPS')
  if warmup_steps is None:
    return total_steps // 10
  what = f'0 to TRAIN_STEPS {total_steps} steps of warmup'
  setting = 'WARMUP_STEPS, or None for a tenth of TRAIN_STEPS'
  expect(0 <= warmup_steps <= total_steps, what, warmup_steps, setting)
  return warmup_steps


def _ramp(step: jax.typing.ArrayLike, warmup_steps: int) -> jax.Array:
  """float32[] from 1 / (warmup_steps + 1) at step 0 to 1 at `warmup_steps`."""
  made = jnp.asarray(step, jnp.float32) + 1
  return jnp.minimum(made / (warmup_steps + 1), 1)


def _fraction(step: jax.typing.ArrayLike, start: int, stop: int) -> jax.Array:
  """float32[], the share of the way from `start` to `stop`, within 0 and 1."""
  if start == stop:  # nothing to fall over: `end` begins right at `stop`
    return jnp.where(jnp.asarray(step) < stop, 0.0, 1.0)
  made = jnp.asarray(step, jnp.float32) - start
  return jnp.clip(made / (stop - start), 0, 1)
