"""Points that Optuna chooses, in a study that several machines may share.

Source: TPE, Bergstra et al. 2011; the median rule, Golovin et al. 2017; both as
implemented in Optuna.
"""

import json
import math
import os
import statistics
import threading
import time
import warnings
from collections.abc import Callable

from bertjax.errors import UserError
from bertjax.runs import metrics_file
from experiments.sweeping import execute, plan
from experiments.sweeping.spec import Range, Sweep

_IDENTITY, _RESULTS = 'bertjax:sweep', 'bertjax:results'


class _NoTrial(Exception):
  """The trial does not count: its run was cut off, or failed."""


def run(
  sweep: Sweep,
  output: str,
  name: str,
  at_once: int,
  run_one: Callable[..., dict],
  ended: threading.Event,
) -> list[dict]:
  """Runs trials until the study has as many as the sweep wants.

  Args:
    sweep: has `search`.
    output: folder of the runs, and of the study without a storage of its own.
    name: of the study.
    at_once: how many runs at a time.
    run_one: executes a run, as `execute.run` does, and prints its result.
    ended: when set, the current trials end, and whoever opens the study next
      retries them.

  Returns:
    The results of all trials, including earlier ones and other machines'.

  Raises:
    UserError: the study belongs to another sweep, or its storage cannot be
      opened.
  """
  import optuna

  optuna.logging.set_verbosity(optuna.logging.ERROR)
  warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
  search = sweep.search
  os.makedirs(output, exist_ok=True)
  with execute.locked(output):  # two that make the tables at once spoil them
    study = _open(sweep, output, name, at_once)
    _check_identity(study, sweep)

  def objective(trial):
    point = {
      key: _suggest(trial, key, values) for key, values in search.space.items()
    }
    results = []
    for seed in sweep.seeds:
      run = plan.run_at(sweep, output, point, seed)
      results.append(run_one(run, _watch(sweep, seed, trial, ended)))
      if ended.is_set():
        study.enqueue_trial(point)
        raise _NoTrial
      if results[-1]['status'] != 'done':
        break
    trial.set_user_attr(_RESULTS, results)
    if results[-1]['status'] == 'stopped':
      raise optuna.TrialPruned(results[-1]['error'])
    if results[-1]['status'] != 'done':
      raise _NoTrial
    return statistics.fmean(r['values'][sweep.metrics[-1]] for r in results)

  states = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
  left = search.trials - len(study.get_trials(deepcopy=False, states=states))
  if left > 0:
    try:
      study.optimize(
        objective,
        n_trials=left,
        n_jobs=at_once,
        catch=(_NoTrial,),
        callbacks=[  # other machines' trials count as well
          optuna.study.MaxTrialsCallback(search.trials, states),
          lambda study, _: study.stop() if ended.is_set() else None,
        ],
      )
    except optuna.exceptions.OptunaError as error:
      raise UserError(
        f'the study was lost: {error}; the same command goes on '
        'when its storage is there again'
      ) from error
  found = [
    result
    for trial in study.get_trials(deepcopy=False)
    for result in trial.user_attrs.get(_RESULTS, [])
  ]
  return [*{result['folder']: result for result in found}.values()]


def _open(sweep: Sweep, output: str, name: str, at_once: int):
  place = sweep.search.storage or (
    f'sqlite:///{os.path.abspath(output)}/study.db'
  )
  try:
    try:
      return _create(sweep, place, name, at_once)
    except Exception:  # one with another output may be making the tables
      time.sleep(1)
      return _create(sweep, place, name, at_once)
  except Exception as error:  # from Optuna, SQLAlchemy, a driver or the disk
    said = str(error).strip().splitlines() or ['']
    raise UserError(
      f'the study cannot be kept in {place}: '
      f'{type(error).__name__}: {said[0]}; mend search.storage'
    ) from error


def _create(sweep: Sweep, place: str, name: str, at_once: int):
  import optuna

  if '://' in place:
    storage = optuna.storages.RDBStorage(
      place,
      # A trial whose machine is gone is retried, in its own folder.
      heartbeat_interval=60,
      heartbeat_stale_trial_callback=(
        optuna.storages.RetryHeartbeatStaleTrialCallback()
      ),
    )
  else:
    storage = optuna.storages.JournalStorage(
      optuna.storages.journal.JournalFileBackend(place)
    )
  return optuna.create_study(
    storage=storage,
    study_name=name,
    load_if_exists=True,
    direction='maximize' if sweep.higher_is_better else 'minimize',
    sampler=optuna.samplers.TPESampler(constant_liar=at_once > 1),
    pruner=optuna.pruners.MedianPruner()
    if sweep.search.prune
    else optuna.pruners.NopPruner(),
  )


def _watch(sweep: Sweep, seed: int, trial, ended: threading.Event):
  """Returns what ends a run of the first seed that is worse than the median."""
  watched = sweep.search.prune and seed == sweep.seeds[0] and not sweep.then
  seen = -1

  def watch(run_dir: str) -> str | None:
    nonlocal seen
    if ended.is_set():
      return 'the search was ended'
    if not watched:
      return None
    before = seen
    steps, values = metrics_file.read_metrics(run_dir).get(
      sweep.metric, ((), ())
    )
    for step, value in zip(steps, values, strict=True):
      if step > seen and math.isfinite(value):
        seen = step
        trial.report(value, step)
    if seen > before and trial.should_prune():
      return f'worse at step {seen} than the median of others'
    return None

  return watch


def _suggest(trial, name: str, values):
  if not isinstance(values, Range):
    return trial.suggest_categorical(name, values)
  whole = isinstance(values.low, int) and isinstance(values.high, int)
  suggest = trial.suggest_int if whole else trial.suggest_float
  return suggest(name, values.low, values.high, log=values.logarithmic)


def _check_identity(study, sweep: Sweep) -> None:
  now = json.loads(
    json.dumps(
      {
        **sweep.identity(),
        'seeds': list(sweep.seeds),
        'higher_is_better': sweep.higher_is_better,
        'space': {k: repr(v) for k, v in sweep.search.space.items()},
      }
    )
  )
  then = study.user_attrs.get(_IDENTITY)
  if then is None:
    study.set_user_attr(_IDENTITY, now)
  elif then != now:
    changed = [key for key in now if then.get(key) != now[key]]
    raise UserError(
      f'the study {study.study_name} was opened with another '
      f'{" and ".join(changed)}: {[then.get(key) for key in changed]}; set '
      '--output, or search.storage, to another place'
    )
