"""Does the doctor find what is wrong? Tests it on runs broken on purpose.

    python experiments/broken_runs.py runs/broken            # all, and healthy
    python experiments/broken_runs.py runs/broken --only 'targets shifted'

Each way to break the quickstart trains for some steps with its own seed
(printed) and is shown to the doctor; one of the `expected` checks must report
it. Healthy runs have seeds that the reference does not include. Exits with
status 1 if a break is not found or a healthy run does not pass. Finished runs
are not repeated.
"""

import argparse
import os
import random
import subprocess
import sys
import time

import numpy as np

RECIPE = 'gin_configs/recipes/quickstart.gin'
SOME_STEPS = 300


def _keep_visible():
  from bertjax.text import masking

  masking.MASKED, masking.RANDOM = 0.0, 0.0


def _on_batches(change):
  """Changes every batch, of training and of evaluation."""
  from bertjax.corpus import pipeline

  original = pipeline.BatchIterator.__next__
  pipeline.BatchIterator.__next__ = lambda self: change(original(self))


def _shift_targets():
  _on_batches(
    lambda batch: batch | {'targets': np.roll(batch['targets'], 1, axis=0)}
  )


def _random_labels():
  rng = np.random.default_rng(0)
  _on_batches(
    lambda batch: batch | {'pair_labels': rng.permutation(batch['pair_labels'])}
  )


def _slow_data():
  def wait(batch):
    time.sleep(0.3)
    return batch

  _on_batches(wait)


def _repeat(kept=100):
  """Repeats the first batches; there are fewer held-out ones than `kept`."""
  from bertjax.corpus import pipeline

  original = pipeline.BatchIterator.__next__

  def repeat(self):
    seen = self.__dict__.setdefault('seen', [])
    self.number = getattr(self, 'number', -1) + 1
    if len(seen) < kept:
      seen.append(original(self))
    return seen[self.number % len(seen)]

  pipeline.BatchIterator.__next__ = repeat


# Name -> (what breaks it, bindings or a function; checks that may report it).
BREAKS = {
  'learning rate 30 times': ({'LEARNING_RATE': 4.5e-2}, ('learning rate',)),
  'learning rate a hundredth': ({'LEARNING_RATE': 1.5e-5}, ('learning rate',)),
  'nothing hidden': (_keep_visible, ('masking',)),
  'too much masked': ({'MASK_RATE': 0.4}, ('masking',)),
  'targets shifted': (_shift_targets, ('stuck loss',)),
  'random pair labels': (_random_labels, ('next sentence',)),
  'initialisation 20 times': (
    {'config.EncoderConfig.initializer_stddev': 1.0},
    ('gradient norm',),
  ),
  'slow data': (_slow_data, ('data stall',)),
  'the same batches': (_repeat, ('repeated data',)),
}
# Only after so many steps is a healthy run better than chance.
STEPS_OF = {
  'targets shifted': 1000,
  'random pair labels': 2000,
  'the same batches': 1400,
}
HEALTHY = 3


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('folder')
  parser.add_argument('--only', help='a break, or "healthy"')
  parser.add_argument(
    '--seed',
    type=int,
    default=0,
    help='draws the seeds of the runs',
  )
  parser.add_argument('--inside', help=argparse.SUPPRESS)
  options, rest = parser.parse_known_args()
  if options.inside:  # in a process of its own, which is then broken
    from bertjax import main as library

    what = BREAKS[options.inside][0]
    if callable(what):
      what()
    return library.main(['bertjax', *rest])
  rng = random.Random(options.seed)
  bad = 0
  for name in [*BREAKS, *(f'healthy {i}' for i in range(HEALTHY))]:
    seed = rng.randrange(1000, 10_000)
    if options.only and not name.startswith(options.only):
      continue
    bad += not _try(name, seed, options.folder)
  return int(bad > 0)


def _try(name: str, seed: int, folder: str) -> bool:
  """Trains, asks the doctor, and returns whether its answer is right."""
  from bertjax.reporting import doctor, references, run_reader

  run_dir = os.path.join(folder, name.replace(' ', '_'))
  what, expected = BREAKS.get(name, ({}, ()))
  bindings = {
    'SEED': seed,
    'RUN_DIR': run_dir,
    'LOG_STEPS': 100,
    **(what if isinstance(what, dict) else {}),
  }
  arguments = [
    f'--gin_file={RECIPE}',
    *(f'--gin.{k}={v!r}' for k, v in bindings.items()),
  ]
  print(f'\n{name}, seed {seed}', flush=True)
  if name in BREAKS:
    _until(
      STEPS_OF.get(name, SOME_STEPS),
      run_dir,
      [
        sys.executable,
        os.path.abspath(__file__),
        folder,
        '--inside',
        name,
        *arguments,
      ],
    )
  else:
    _until(2000, run_dir, [sys.executable, '-m', 'bertjax.main', *arguments])
  run = run_reader.read(run_dir)
  reference = references.find(run)
  findings = doctor.examine(run, reference)
  print(doctor.describe(run, reference, findings))
  off = {check for check, finding in findings.items() if not finding.ok}
  right = bool(off & set(expected)) if name in BREAKS else not off
  print('as it should be' if right else 'NOT as it should be', flush=True)
  return right


def _until(step: int, run_dir: str, command: list[str]) -> None:
  """Stops a whole run, with its own schedule, once it has logged a step."""
  from bertjax.runs import metrics_file

  def logged() -> int:
    try:
      return max(metrics_file.read_metrics(run_dir)['train/loss'][0])
    except (OSError, KeyError):
      return 0

  if logged() >= step:
    return
  os.makedirs(run_dir, exist_ok=True)
  with open(os.path.join(run_dir, 'log.txt'), 'a') as log:
    process = subprocess.Popen(
      command, stdout=log, stderr=log, env=os.environ | {'PYTHONPATH': '.'}
    )
    while process.poll() is None:
      time.sleep(1)
      if logged() >= step:
        process.terminate()
        process.wait()


if __name__ == '__main__':
  sys.path.insert(0, os.getcwd())
  sys.exit(main())
