"""Executes a run of a sweep: its stages in order, each one resumable.

    result = execute.run(run)       # also in result.json of its folder

A finished run is not started again, an interrupted one continues from its last
checkpoint, and a failed one is retried.
"""

import glob
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import filelock

from bertjax.errors import UserError
from bertjax.runs import metrics_file, model_file, output_files
from bertjax.text import whole_files
from bertjax.values import Count
from experiments.sweeping import child
from experiments.sweeping.plan import Run
from experiments.sweeping.spec import Minutes

RESULT, LOG = 'result.json', 'log.txt'
# Of RESULT: key -> annotation; see `run`.
_RESULT: dict[str, Any] = {
  'point': dict[str, Any],
  'seed': int,
  'status': str,
  'values': dict[str, float],
  'error': str | None,
  'seconds': float,
}
_MEASURED_STEPS = 60
_POLL_SECONDS = 0.2


class _Stopped(Exception):
  """Why `watch` ended the run."""


class _Failed(Exception):
  """One line on why a run has no result."""


def run(
  run: Run, watch: Callable[[str], str | None] = lambda run_dir: None
) -> dict:
  """Runs all stages and returns the results.

  Args:
    run: of a sweep.
    watch: called now and then with the RUN_DIR of the stage; if it returns a
      reason, the run is ended.

  Returns:
    `point`, `seed`, `status` ('done', 'failed', 'stopped' by `watch`, or
    'cut off'), `values` by metric, `error` (a line, or None), `seconds` (of all
    its launches), `bytes` of its files, `folder`.
  """
  try:
    os.makedirs(run.folder, exist_ok=True)
    with locked(run.folder):  # a search may ask twice for a point at a time
      return _run(run, watch)
  except OSError as error:
    return _result(run, 'failed', f'{type(error).__name__}: {error}', {}, 0)


def _run(run: Run, watch) -> dict:
  earlier = read(run)
  if earlier and earlier['status'] == 'done':
    return earlier
  began = time.monotonic()
  values, status, error = {}, 'cut off', None
  try:
    for metric, (stage, run_dir) in zip(
      run.sweep.metrics, run.stages(), strict=True
    ):

      def stop(run_dir=run_dir):
        return watch(run_dir)

      command = run.command(stage, run_dir, **_steps(run, stage, stop))
      _launch(command, run.folder, stop)
      values[metric] = value_of(run_dir, stage.metric)
    status = 'done'
  except _Stopped as stopped:
    status, error = 'stopped', str(stopped)
  except (_Failed, UserError) as failure:
    status, error = 'failed', str(failure)
  except (OSError, LookupError, ValueError) as unforeseen:
    status, error = 'failed', f'{type(unforeseen).__name__}: {unforeseen}'
  finally:
    seconds = time.monotonic() - began + (earlier or {}).get('seconds', 0)
    result = _result(run, status, error, values, seconds)
    _write(os.path.join(run.folder, RESULT), result)
  return result


def lost(run: Run, error: str) -> dict:
  """Returns the result of a run whose process or job was lost."""
  return _result(run, 'failed', error, {}, (read(run) or {}).get('seconds', 0))


def _result(run: Run, status: str, error, values: dict, seconds: float) -> dict:
  return {
    'point': run.point,
    'seed': run.seed,
    'status': status,
    'values': values,
    'error': error,
    'seconds': round(seconds, 1),
    'bytes': _size(run.folder),
    'folder': run.folder,
  }


def read(run: Run) -> dict | None:
  """Returns the result that a run has written, or None."""
  return _read(run.folder, RESULT, _RESULT)


def is_done(run: Run) -> bool:
  """Returns whether a run is finished."""
  return (read(run) or {}).get('status') == 'done'


def read_all(output: str) -> list[dict]:
  """Returns the results that runs have written to the folder of a sweep."""
  folders = glob.glob(os.path.join(glob.escape(output), '*', 'seed_*'))
  found = (_read(folder, RESULT, _RESULT) for folder in sorted(folders))
  return [result for result in found if result]


def value_of(run_dir: str, metric: str) -> float:
  """Returns the last value of a metric, or the median score of a task.

  Raises:
    _Failed: the run has no such metric.
  """
  rows = model_file.read_results(run_dir)
  if rows is not None:
    found = {
      f'{row["task"]}/{name.removeprefix("eval/")}': statistics.median(scores)
      for row in rows
      for name, scores in row['scores'].items()
    }
  else:
    found = {
      name: values[-1]
      for name, (_, values) in metrics_file.read_metrics(run_dir).items()
    }
  if metric not in found or not math.isfinite(found[metric]):
    raise _Failed(
      f'there is no {metric} in {run_dir}; it has '
      f'{", ".join(sorted(found)) or "no metrics"}'
    )
  return found[metric]


def locked(folder: str) -> filelock.BaseFileLock:
  """Waits for other threads, processes and machines working in a folder."""
  return filelock.FileLock(os.path.join(folder, '.lock'))


def _steps(run: Run, stage, stop: Callable[[], str | None]) -> dict[str, int]:
  """Returns the TRAIN_STEPS that fill the stage's `Minutes`, if it sets them.

  Times a run of a few steps, once for all seeds and launches of a point.
  """
  wanted = stage.bindings.get('TRAIN_STEPS')
  if not isinstance(wanted, Minutes):
    return {}
  point = os.path.dirname(run.folder)
  path = os.path.join(point, 'steps.json')
  with locked(point):
    if not os.path.exists(path):
      measured = os.path.join(run.folder, 'measured')
      _launch(
        run.command(
          stage,
          measured,
          TRAIN_STEPS=_MEASURED_STEPS,
          LOG_STEPS=_MEASURED_STEPS // 6,
          EVAL_STEPS=None,
        ),
        run.folder,
        stop,
      )
      # The first entry includes what the first step waits for.
      _, seconds = metrics_file.read_metrics(measured)['speed/step_seconds']
      steps = wanted.minutes * 60 / statistics.median(seconds[1:])
      _write(path, {'TRAIN_STEPS': max(_MEASURED_STEPS, round(steps))})
  steps = _read(point, 'steps.json', {'TRAIN_STEPS': Count})
  return {'TRAIN_STEPS': steps['TRAIN_STEPS']}


def _launch(
  command: list[str],
  folder: str,
  stop: Callable[[], str | None],
) -> None:
  """Runs a command to its end; its output goes to log.txt.

  Raises:
    _Failed: its exit status is not 0.
    _Stopped: `stop` gave a reason.
  """
  if reason := stop():
    raise _Stopped(reason)
  with open(os.path.join(folder, LOG), 'a', encoding='utf-8') as log:
    log.write(f'+ {" ".join(command)}\n')
    log.flush()
    # Not by preexec_fn, which may deadlock where there are threads.
    as_child = [sys.executable, '-S', child.__file__, folder, str(os.getpid())]
    process = subprocess.Popen(
      [*as_child, *command], stdout=log, stderr=subprocess.STDOUT
    )
    try:
      while process.poll() is None:
        time.sleep(_POLL_SECONDS)
        if reason := stop():
          raise _Stopped(reason)
    finally:
      if process.poll() is None:  # even if this process is interrupted
        process.send_signal(signal.SIGTERM)
        process.wait()
  if process.returncode < 0:
    raise _Failed(f'killed by {signal.Signals(-process.returncode).name}')
  if process.returncode:
    raise _Failed(_last_line(folder) or f'status {process.returncode}')


def _last_line(folder: str) -> str:
  """Returns the error message of the last command, or else its last line."""
  with open(
    os.path.join(folder, LOG), encoding='utf-8', errors='replace'
  ) as file:
    lines = [line.strip() for line in file if line.strip()]
  begin = max(i for i, line in enumerate(lines) if line.startswith('+ '))
  said = lines[begin + 1 :]
  own = [line for line in said if line.startswith('bertjax: ')]
  return (own or said or [''])[-1]


def _size(folder: str) -> int:
  return sum(
    os.path.getsize(os.path.join(path, file))
    for path, _, files in os.walk(folder)
    for file in files
    if os.path.exists(os.path.join(path, file))
  )


def _read(folder: str, name: str, forms: dict[str, Any]) -> dict | None:
  """Returns what a sweep has written, None if it is not there; checks it."""
  path = os.path.join(folder, name)
  fix = 'remove it, and the same command makes it anew'
  content = whole_files.read_object(path, fix)
  if content is None:
    return None
  whole_files.check(content, forms, path, fix)
  # A sweep may have moved since.
  return content | {'folder': folder}


def _write(path: str, content: dict) -> None:
  output_files.write_text(path, json.dumps(content, indent=1))


def check_same(path: str, content: dict, what: str) -> None:
  """Writes a file; raises UserError if it exists with other content."""
  fix = 'set --output to another folder'
  then = whole_files.read_object(path, fix)
  if then not in (None, content):
    raise UserError(f'{os.path.dirname(path)} holds a sweep with {what}; {fix}')
  if then is None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _write(path, content)
