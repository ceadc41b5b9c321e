"""How the steps of a run correspond to those of a longer or shorter reference.

    reference = references.read('quickstart')     # 2,000 steps
    run = run_reader.read('runs/quickstart')      # with TRAIN_STEPS=1000
    in_schedule(run, reference, np.array([100]))  # 199: all of the warmup
    as_learnt(run, reference, np.array([1000]))   # 659

A schedule is stretched with the run: its warmup over WARMUP_STEPS, which are a
tenth of the run if None, and what follows over the rest.
"""

import numpy as np

from bertjax.reporting.references import Reference
from bertjax.reporting.run_reader import Run

_RATE = 'train/learning_rate'


def in_schedule(
  run: Run, reference: Reference, steps: np.ndarray
) -> np.ndarray:
  """Returns where the reference's schedule is as far as the run's at n steps.

  Args:
    run: see `run_reader`.
    reference: see `references`.
    steps: int[n].

  Returns:
    float[n], steps of the reference.
  """
  totals = _totals(run, reference)
  warmups = (x.bindings.get('WARMUP_STEPS', '') for x in (run, reference))
  ours, theirs = (
    [0, int(warmup) if warmup.isdecimal() else total // 10, total]
    for warmup, total in zip(warmups, totals, strict=True)
  )
  # The rate at a step is that of the update before it.
  return (np.interp(steps - 1, ours, theirs) + 1).round(6)


def as_learnt(run: Run, reference: Reference, steps: np.ndarray) -> np.ndarray:
  """Returns to where a healthy run may lag behind the reference at n steps.

  That is where the reference's learning rates add up to what those of the run's
  own schedule do; at most `steps`. Arguments and value are as in `in_schedule`.
  """
  if _RATE not in reference.curves:
    return steps
  known, rates = reference.curves[_RATE]
  every = np.arange(1, max(*_totals(run, reference), *steps) + 1)
  ours, theirs = (
    np.cumsum(np.interp(x, [0, *known], [0, *np.median(rates, axis=0)]))
    for x in (in_schedule(run, reference, every), every)
  )
  return np.minimum(steps, np.interp(ours[steps - 1], theirs, every))


def told(run: Run, reference: Reference) -> list[str]:
  """Returns lines that say how they are compared; none if equally long."""
  ours, theirs = _totals(run, reference)
  if ours == theirs:
    return []
  return [
    f'this run has {ours:,} steps, the reference {theirs:,}: compared at equal '
    f'steps up to {min(run.step, theirs):,}',
    f'its learning rate decays {"sooner" if ours < theirs else "later"}: it is '
    'compared with its own schedule, and the run may lag by what this explains',
  ]


def _totals(run: Run, reference: Reference) -> tuple[int, int]:
  """Returns the steps of both; those of the reference if nothing is known."""
  end = max(int(steps[-1]) for steps, _ in reference.curves.values())
  for name in ('TRAIN_STEPS', 'EPOCHS'):
    ours, theirs = (x.bindings.get(name, '') for x in (run, reference))
    if ours.isdecimal() and theirs.isdecimal():
      one = end / int(theirs) if name == 'EPOCHS' else 1
      return round(int(ours) * one), round(int(theirs) * one)
  return end, end
