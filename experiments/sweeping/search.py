"""Points that Optuna chooses, in a study that several machines may share.

Source: TPE, Bergstra et al. 2011; the median rule, Golovin et al. 2017; both as
optuna has them.
"""

import json
import math
import os
import warnings
from collections.abc import Callable

from bertjax.errors import UserError
from bertjax.training import writers
from experiments.sweeping import execute, plan
from experiments.sweeping.spec import Range, Sweep

_SPACE = 'bertjax:space'


def run(
    sweep: Sweep, output: str, name: str, at_once: int,
    tell: Callable[[dict], None],
) -> None:
  """Runs trials until the study has as many as the sweep wants.

  Args:
    sweep: has `search`.
    output: folder of the runs, and of the study without a storage of its own.
    name: of the study.
    at_once: how many runs at a time.
    tell: called with each result.

  Raises:
    UserError: a study with another space.
  """
  import optuna

  optuna.logging.set_verbosity(optuna.logging.WARNING)
  warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
  search = sweep.search
  os.makedirs(output, exist_ok=True)
  storage = optuna.storages.RDBStorage(
      search.storage or f'sqlite:///{os.path.abspath(output)}/study.db',
      # A trial whose machine has gone is tried again, in its own folder.
      heartbeat_interval=60,
      heartbeat_stale_trial_callback=(
          optuna.storages.RetryHeartbeatStaleTrialCallback()))
  study = optuna.create_study(
      storage=storage, study_name=name, load_if_exists=True,
      direction='maximize' if sweep.higher_is_better else 'minimize',
      sampler=optuna.samplers.TPESampler(constant_liar=at_once > 1),
      pruner=optuna.pruners.MedianPruner()
      if search.prune else optuna.pruners.NopPruner())
  _check_space(study, sweep)

  def objective(trial):
    point = {key: _suggest(trial, key, values)
             for key, values in search.space.items()}
    scores = []
    for seed in sweep.seeds:
      result = _run_one(sweep, output, point, seed, trial)
      tell(result)
      if result['status'] != 'done':
        raise optuna.TrialPruned(result['error'])
      scores.append(result['values'][sweep.metrics[-1]])
    return sum(scores) / len(scores)

  ended = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
  left = search.trials - len(study.get_trials(deepcopy=False, states=ended))
  if left > 0:
    study.optimize(objective, n_trials=left, n_jobs=at_once)


def _run_one(sweep, output, point, seed, trial) -> dict:
  """Runs a seed, the first one as long as it is better than the median."""
  run = plan.run_at(sweep, output, point, seed)
  seen = -1

  def watch(run_dir: str) -> bool:
    nonlocal seen
    steps, values = writers.read_metrics(run_dir).get(sweep.metric, ((), ()))
    for step, value in zip(steps, values, strict=True):
      if step > seen and math.isfinite(value):
        seen = step
        trial.report(value, step)
    return bool(seen >= 0) and trial.should_prune()

  is_watched = (
      sweep.search.prune and seed == sweep.seeds[0] and not sweep.then)
  try:
    return execute.run(run, watch if is_watched else None)
  except execute.Stopped:
    return execute.read(run) | {'error': 'worse than the median of others'}


def _suggest(trial, name: str, values):
  if not isinstance(values, Range):
    return trial.suggest_categorical(name, values)
  whole = isinstance(values.low, int) and isinstance(values.high, int)
  suggest = trial.suggest_int if whole else trial.suggest_float
  return suggest(name, values.low, values.high, log=values.logarithmic)


def _check_space(study, sweep: Sweep) -> None:
  now = json.loads(json.dumps({
      'metrics': sweep.metrics, 'seeds': list(sweep.seeds),
      'space': {k: repr(v) for k, v in sweep.search.space.items()}}))
  then = study.user_attrs.get(_SPACE)
  if then is None:
    study.set_user_attr(_SPACE, now)
  elif then != now:
    changed = [key for key in now if then.get(key) != now[key]]
    raise UserError(
        f'the study {study.study_name} was opened with another '
        f'{" and ".join(changed)}: {[then.get(key) for key in changed]}; set '
        '--output, or search.storage, to another place')
