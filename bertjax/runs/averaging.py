"""The average of a run's last checkpoints.

    found = averaging.read('runs/books', 5)  # as `trained_model.read` gives it
    found = averaging.read('runs/books', 5, decay=0.5)  # newer ones count more

Source: Izmailov et al. 2018 (arXiv:1803.05407) for equal weights; an
exponential moving average, over checkpoints in place of steps.
"""

import functools
import os

import jax
import numpy as np

from bertjax.errors import UserError
from bertjax.runs import layout, trained_model
from bertjax.runs.checkpoints import Checkpoints
from bertjax.runs.trained_model import TrainedModel


def read(
  path: str, count: int, decay: float = 1.0, step: int | None = None
) -> TrainedModel:
  """Reads checkpoints, one at a time, and averages their parameters in float64.

  Args:
    path: the folder of a run; of a fine-tuning, its best.
    count: how many checkpoints; that of step 0 is none of them.
    decay: the weight of a checkpoint over that of the next one.
    step: of the last one; None: the latest.

  Raises:
    UserError: there are fewer; `path` is no run; see also `trained_model.read`.
  """
  path = trained_model.best_run(os.fspath(path))
  if os.path.exists(os.path.join(path, 'config.json')):
    raise UserError(
      f'expected a run, whose checkpoints AVERAGE is of, got the Hugging Face '
      f'directory {path}; set AVERAGE to None, or MODEL to a run'
    )
  folder = os.path.join(path, layout.CHECKPOINTS)
  known = []
  if os.path.isdir(folder):
    with Checkpoints(folder, read_only=True) as checkpoints:
      known = checkpoints.steps()
  last = max(known, default=0) if step is None else step
  steps = [x for x in known if 0 < x <= last][-count:]
  if len(steps) < count or last not in steps:
    raise UserError(
      f'expected {count} checkpoints to average, up to step {last}, got '
      f'{known} in {path}; set AVERAGE or STEP to what is there, or '
      'KEEP_CHECKPOINTS when training'
    )
  first, *others = steps
  found = trained_model.read(path, first)
  mean = jax.tree.map(np.float64, found.parameters)
  whole = 1.0  # all weights so far over that of the last one
  for one in others:
    whole = decay * whole + 1
    share = 1 / whole
    newer = trained_model.read(path, one).parameters
    mean = jax.tree.map(functools.partial(_between, share), mean, newer)
  average = jax.tree.map(
    lambda x, like: x.astype(like.dtype), mean, found.parameters
  )
  return found._replace(parameters=average, step=last, averaged=tuple(steps))


def _between(share: float, one: np.ndarray, other: np.ndarray) -> np.ndarray:
  """Returns what lies at `share` of the way from one to the other."""
  return one + share * (other - one)
