"""Answers a question by a sweep: resumable runs, one table, one picture.

    python -m experiments.sweep experiments/sweeps/masking_rate.py --dry_run
    python -m experiments.sweep experiments/sweeps/masking_rate.py --at_once 2
    python -m experiments.sweep experiments/sweeps/masking_rate.py \\
        --slurm 'slurm_partition=gpu,gpus_per_node=1,timeout_min=240'

A sweep is a Python file whose docstring asks the question and that sets SWEEP,
see `experiments.sweeping.spec`. The same command again resumes interrupted
runs, retries failed ones, and skips finished ones. The folder of the sweep
(`--output`, else runs/sweeps/NAME) gets `results.jsonl`, `results.md`,
`results.png`, and a folder for each run with its `log.txt`. From Python:

    frame = sweep.run(sweep.Sweep(...), 'runs/sweeps/mine')   # a DataFrame

Exits with status 1 if a run failed.
"""

import argparse
import ast
import concurrent.futures
import importlib.util
import os
import signal
import sys
import threading
import traceback
from typing import NoReturn

from bertjax import values
from bertjax.errors import UserError
from experiments.sweeping import execute, gather, plan
from experiments.sweeping.spec import Minutes, Range, Search, Stage, Sweep

__all__ = ['Minutes', 'Range', 'Search', 'Stage', 'Sweep', 'run']


@values.checked
def run(
  sweep: Sweep,
  output: values.Path,
  at_once: int = 1,
  slurm: dict | None = None,
  cluster: str = 'slurm',
):
  """Runs what is not done yet, and gathers all results.

  Args:
    sweep: what to run.
    output: folder for its runs.
    at_once: how many runs at a time on this machine.
    slurm: parameters of submitit's executor, which then submits the runs; this
      function waits for them.
    cluster: submitit's; 'local' submits to this machine.

  Returns:
    a pandas.DataFrame, see `sweeping.gather.frame`.

  Raises:
    UserError: a macro does not exist, a point has a value that `bertjax.main`
      refuses, or the folder belongs to another sweep.
  """
  results = _run(sweep, output, at_once, slurm, cluster)
  return gather.frame(results)


def _run(sweep, output, at_once, slurm, cluster) -> list[dict]:
  if at_once < 1:
    raise UserError(f'expected 1 or more runs at once, got {at_once}')
  plan.check(sweep)
  lines = plan.missing(sweep)
  if lines:
    raise UserError('; '.join(lines))
  if tuple(sweep.program) == Sweep.program:  # others may take other values
    plan.check_values(sweep, output)
  runs = plan.runs_of(sweep, output)
  results = {
    result['folder']: result for result in _finished(sweep, runs, output)
  }
  ended = threading.Event()

  def tell(result: dict) -> None:
    with execute.locked(output):
      results[result['folder']] = result
      values = ', '.join(f'{k} {v:.4f}' for k, v in result['values'].items())
      name = os.path.relpath(result['folder'], output)
      print(
        f'{name}: {result["status"]}, {result["error"] or values}, '
        f'{result["seconds"] / 60:.1f} minutes',
        flush=True,
      )
      gather.write(sweep, list(results.values()), output)

  def run_one(run, watch=None) -> dict:
    if not execute.is_done(run):
      print(f'{run.name}: begins, {run.folder}/{execute.LOG}', flush=True)
    result = execute.run(
      run,
      watch or (lambda _: 'the sweep was ended' if ended.is_set() else None),
    )
    tell(result)
    return result

  # If this thread is interrupted, those of the pool end their runs.
  pool = concurrent.futures.ThreadPoolExecutor(at_once)
  try:
    if sweep.search:
      if slurm is not None:
        raise UserError(
          'a search runs where it is started: give it a storage, '
          'and start it on several machines, without --slurm'
        )
      from experiments.sweeping import search

      ordered = pool.submit(
        search.run,
        sweep,
        output,
        os.path.basename(os.path.abspath(output)),
        at_once,
        run_one,
        ended,
      ).result()
    else:
      execute.check_same(
        os.path.join(os.path.abspath(output), 'sweep.json'),
        sweep.identity(),
        'other files, bindings or metrics',
      )
      if slurm is not None:
        _run_by_slurm(runs, output, slurm, cluster, tell)
      else:
        for done in concurrent.futures.as_completed(
          [pool.submit(run_one, one) for one in runs]
        ):
          done.result()
      # In the order of the plan, not in that of their ends.
      ordered = [results[one.folder] for one in runs]
  finally:
    ended.set()
    pool.shutdown(cancel_futures=True)
  with execute.locked(output):
    gather.write(sweep, ordered, output)
  return ordered


def _run_by_slurm(runs, output: str, parameters: dict, cluster: str, tell):
  """Submits what is not done, and calls `tell` for each run as its job ends."""
  import submitit

  left = [one for one in runs if not execute.is_done(one)]
  for one in runs:
    if one not in left:
      tell(execute.read(one))
  try:
    executor = submitit.AutoExecutor(
      os.path.join(output, 'submitit'), cluster=cluster
    )
    executor.update_parameters(**parameters)
  except (RuntimeError, TypeError, NameError) as error:
    raise UserError(
      f'--slurm: {error}; run it where Slurm is, with parameters of submitit'
    ) from error
  with executor.batch():
    jobs = [executor.submit(execute.run, one) for one in left]
  print(
    f'{len(jobs)} runs submitted; this waits for them. Cancel those that '
    'still wait (scancel) before you start it again',
    flush=True,
  )
  for one, job in zip(left, jobs, strict=True):
    try:
      tell(job.result())
    except Exception as error:  # killed or out of time; the others continue
      said = str(error).strip().splitlines() or ['']
      tell(execute.lost(one, f'job {job.job_id}: {said[-1]}'))


def describe(sweep: Sweep, output: str) -> str:
  """Returns the plan: runs, time, disk, and what is missing."""
  runs = plan.runs_of(sweep, output)
  finished = _finished(sweep, runs, output)
  done = sum(result['status'] == 'done' for result in finished)
  count = sweep.search.trials * len(sweep.seeds) if sweep.search else len(runs)
  lines = [f'{count} runs, {done} done, in {output}']
  lines += [f'  {one.name}' for one in runs]
  if sweep.search:
    lines += [f'  {k}: {v}' for k, v in sweep.search.space.items()]
  pruned = sum(result['status'] == 'stopped' for result in finished)
  left = count - done - (pruned if sweep.search else 0)
  lines += [
    *plan.estimate(sweep, finished, max(left, 0)),
    *(f'missing: {line}' for line in plan.missing(sweep)),
  ]
  return '\n'.join(lines)


def _finished(sweep: Sweep, runs, output: str) -> list[dict]:
  """Returns the results that exist already."""
  if sweep.search:
    return execute.read_all(output)
  return [result for one in runs if (result := execute.read(one))]


def load(path: str) -> tuple[Sweep, str]:
  """Returns SWEEP of a file, and the question in its docstring."""
  if not os.path.isfile(path) or not path.endswith('.py'):
    raise UserError(
      f'there is no Python file {path}; give one as those of experiments/sweeps'
    )
  module_spec = importlib.util.spec_from_file_location('sweep_file', path)
  module = importlib.util.module_from_spec(module_spec)
  try:
    module_spec.loader.exec_module(module)
  except UserError:
    raise
  except (Exception, SystemExit) as error:  # whatever the file does
    lines = [
      frame.lineno
      for frame in traceback.extract_tb(error.__traceback__)
      if frame.filename == os.path.abspath(path)
    ]
    line = lines[-1] if lines else getattr(error, 'lineno', '?')  # its syntax
    raise UserError(
      f'{path}, line {line}: {type(error).__name__}: {error}; mend it'
    ) from error
  if not isinstance(getattr(module, 'SWEEP', None), Sweep):
    raise UserError(f'{path} sets no SWEEP; see experiments/sweeping/spec.py')
  return module.SWEEP, (module.__doc__ or '').strip()


def _parameters(text: str) -> dict:
  """'a=1,b=x' to {'a': 1, 'b': 'x'}."""
  found = {}
  for part in filter(None, text.split(',')):
    name, equals, value = part.partition('=')
    if not equals:
      raise UserError(f'--slurm: expected NAME=VALUE, got {part!r}')
    try:
      found[name] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      found[name] = value
  return found


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    raise UserError(f'{message}; see --help')


def main() -> int:
  parser = _Parser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('file')
  parser.add_argument(
    '--output', type=os.path.expanduser, help='folder of the runs'
  )
  parser.add_argument('--dry_run', action='store_true')
  parser.add_argument('--at_once', type=int, default=1)
  parser.add_argument('--slurm', metavar='NAME=VALUE,...')
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
  try:
    options = parser.parse_args()
    sweep, question = load(options.file)
    name = os.path.splitext(os.path.basename(options.file))[0]
    output = options.output or os.path.join('runs', 'sweeps', name)
    values.check(run, {'output': output}, {'output': '--output'})
    print(question, end='\n\n')
    plan.check(sweep)
    print(describe(sweep, output), flush=True)
    if options.dry_run:
      plan.check_values(sweep, output)
      return 0
    results = _run(
      sweep,
      output,
      options.at_once,
      None if options.slurm is None else _parameters(options.slurm),
      'slurm',
    )
    print('\n' + gather.markdown(sweep, results))
  except UserError as error:
    print(f'sweep: {error}', file=sys.stderr)
    return error.status
  except ImportError as error:
    print(
      f'sweep: {error}; pip install -r experiments/requirements.txt',
      file=sys.stderr,
    )
    return 2
  except OSError as error:
    print(f'sweep: {error}; mend --output', file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print('sweep: interrupted; the same command goes on', file=sys.stderr)
    return 130
  return int(any(result['status'] == 'failed' for result in results))


if __name__ == '__main__':
  # Sweep files import `experiments.sweep`, and this module is __main__.
  from experiments import sweep as library

  sys.exit(library.main())
