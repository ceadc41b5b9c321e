"""Runs a run of a sweep: its stages one after the other, each resumed.

    result = execute.run(run)       # also what result.json of its folder holds

A run that is done is not started again, one that was cut off goes on from its
last checkpoint, and one that failed is tried again. Source: ours.
"""

import json
import math
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable

from bertjax.errors import UserError
from bertjax.training import run_directory, writers
from experiments.sweeping.plan import Run
from experiments.sweeping.spec import Minutes

RESULT = 'result.json'
_MEASURED_STEPS = 60
_POLL_SECONDS = 0.2


class Stopped(Exception):
  """`watch` asked to end the run."""


def run(run: Run, watch: Callable[[str], bool] | None = None) -> dict:
  """Runs all stages, and returns what was found.

  Args:
    run: of a sweep.
    watch: called now and then with the RUN_DIR of the first stage; where it
      gives True, the run is ended.

  Returns:
    `point`, `seed`, `status` ('done' or 'failed'), `values` by metric, `error`
    (a line, or None), `seconds` (of all its launches), `bytes` of its files.

  Raises:
    Stopped: `watch` gave True; the result says 'stopped'.
  """
  earlier = read(run)
  if earlier and earlier['status'] == 'done':
    return earlier
  began = time.monotonic()
  os.makedirs(run.folder, exist_ok=True)
  values, status, error = {}, 'done', None
  try:
    for i, (stage, run_dir) in enumerate(run.stages()):
      command = run.command(stage, run_dir, **_steps(run, stage, run_dir))
      _launch(command, run.folder, lambda d=run_dir, i=i: (
          watch is not None and i == 0 and watch(d)))
      values[stage.metric] = value_of(run_dir, stage.metric)
  except Stopped:
    status = 'stopped'
    raise
  except _Failed as failure:
    status, error = 'failed', str(failure)
  finally:
    seconds = time.monotonic() - began + (earlier or {}).get('seconds', 0)
    result = {
        'point': run.point, 'seed': run.seed, 'status': status,
        'values': values, 'error': error, 'seconds': round(seconds, 1),
        'bytes': _size(run.folder), 'folder': run.folder}
    _write(os.path.join(run.folder, RESULT), result)
  return result


def read(run: Run) -> dict | None:
  """Returns the result that a run has left; None where it has none."""
  path = os.path.join(run.folder, RESULT)
  if not os.path.exists(path):
    return None
  with open(path, encoding='utf-8') as file:
    return json.load(file)


def value_of(run_dir: str, metric: str) -> float:
  """Returns the last value of a metric, or the median score of a task.

  Raises:
    _Failed: the run has no such metric.
  """
  path = os.path.join(run_dir, run_directory.RESULTS)
  found = {}
  if os.path.exists(path):
    with open(path, encoding='utf-8') as file:
      for row in json.load(file)['tasks']:
        for name, scores in row['scores'].items():
          name = name.removeprefix('eval/')
          found[f'{row["task"]}/{name}'] = statistics.median(scores)
  else:
    found = {name: values[-1]
             for name, (_, values) in writers.read_metrics(run_dir).items()}
  if metric not in found or not math.isfinite(found[metric]):
    raise _Failed(f'there is no {metric} in {run_dir}; it has '
                  f'{", ".join(sorted(found)) or "no metrics"}')
  return found[metric]


class _Failed(Exception):
  """One line on why a run has no result."""


def _steps(run: Run, stage, run_dir: str) -> dict[str, int]:
  """Returns TRAIN_STEPS where it is to fill some minutes.

  A run of a few steps is timed, once for all seeds and launches of a point.
  """
  wanted = stage.bindings.get('TRAIN_STEPS')
  if not isinstance(wanted, Minutes):
    return {}
  point = os.path.dirname(run.folder)
  path = os.path.join(point, 'steps.json')
  if not os.path.exists(path):
    measured = os.path.join(run.folder, 'measured')
    _launch(run.command(
        stage, measured, TRAIN_STEPS=_MEASURED_STEPS,
        LOG_STEPS=_MEASURED_STEPS // 6, EVAL_STEPS=None), run.folder)
    # The first holds what the first step waits for.
    _, seconds = writers.read_metrics(measured)['speed/step_seconds']
    steps = wanted.minutes * 60 / statistics.median(seconds[1:])
    _write(path, {'TRAIN_STEPS': max(_MEASURED_STEPS, round(steps))})
  with open(path, encoding='utf-8') as file:
    return json.load(file)


def _launch(
    command: list[str], folder: str, stop: Callable[[], bool] = lambda: False
) -> None:
  """Runs a command to its end; what it prints goes into log.txt.

  Raises:
    _Failed: it ended with another status than 0.
    Stopped: `stop` gave True.
  """
  with open(os.path.join(folder, 'log.txt'), 'a', encoding='utf-8') as log:
    log.write(f'+ {" ".join(command)}\n')
    log.flush()
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
      while process.poll() is None:
        time.sleep(_POLL_SECONDS)
        if stop():
          raise Stopped
    finally:
      if process.poll() is None:  # also where this process is interrupted
        process.send_signal(signal.SIGTERM)
        process.wait()
  if process.returncode:
    raise _Failed(_last_line(folder) or f'status {process.returncode}')


def _last_line(folder: str) -> str:
  with open(os.path.join(folder, 'log.txt'), encoding='utf-8',
            errors='replace') as file:
    lines = [line.strip() for line in file if line.strip()]
  return lines[-1] if not lines[-1].startswith('+ ') else ''


def _size(folder: str) -> int:
  return sum(os.path.getsize(os.path.join(path, file))
             for path, _, files in os.walk(folder) for file in files
             if os.path.exists(os.path.join(path, file)))


def _write(path: str, content: dict) -> None:
  with open(path + '.new', 'w', encoding='utf-8') as file:
    json.dump(content, file, indent=1)
  os.replace(path + '.new', path)


def check_same(path: str, content: dict, what: str) -> None:
  """Raises UserError where a file holds something else; else writes it."""
  if os.path.exists(path):
    with open(path, encoding='utf-8') as file:
      if json.load(file) != content:
        raise UserError(f'{os.path.dirname(path)} holds a sweep with {what}; '
                        'set --output to another folder')
  else:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _write(path, content)
