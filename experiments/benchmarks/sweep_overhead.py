"""What a sweep costs besides its runs, and which programs later runs reuse.

    PYTHONPATH=. python experiments/benchmarks/sweep_overhead.py

Sweeps short runs of the quickstart, two learning rates with a few seeds each,
starting with an empty compilation cache. The seconds in which no run was alive
are the sweep's own: planning, noticing that a run has ended, results, table and
picture. Prints them per run, and when each run made its first step: seeds share
a compiled program, learning rates do not.
"""

import argparse
import os
import pathlib
import platform
import re
import subprocess
import tempfile
import threading
import time
import types
from importlib import metadata

from experiments import sweep
from experiments.sweeping import execute


class Popen(subprocess.Popen):
  """A process that knows how long it lived, even if waited for later."""

  lives: list[float] = []

  def __init__(self, *arguments, **named):
    began = time.perf_counter()
    super().__init__(*arguments, **named)

    def wait():
      # WNOWAIT leaves the status to the sweep.
      os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
      self.lives.append(time.perf_counter() - began)

    threading.Thread(target=wait).start()


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--steps', type=int, default=20)
  options = parser.parse_args()
  print(
    f'{platform.machine()}, {os.cpu_count()} cores, Python '
    f'{platform.python_version()}, jax {metadata.version("jax")}'
  )
  execute.subprocess = types.SimpleNamespace(  # only for the runs
    Popen=Popen, STDOUT=subprocess.STDOUT
  )
  with tempfile.TemporaryDirectory() as folder:
    os.environ['JAX_COMPILATION_CACHE_DIR'] = f'{folder}/compiled'
    began = time.perf_counter()
    frame = sweep.run(
      sweep.Sweep(
        files=('recipes/quickstart.gin', 'models/bert_tiny.gin'),
        bindings={
          'TRAIN_STEPS': options.steps,
          'LOG_STEPS': 10,
          'EVAL_STEPS': None,
          'CHECKPOINT_STEPS': options.steps,
        },
        grid={'LEARNING_RATE': (1e-3, 2e-3)},
        seeds=tuple(range(options.seeds)),
        metric='train/loss',
      ),
      f'{folder}/sweep',
    )
    whole = time.perf_counter() - began
    firsts = [
      re.findall(r'first step after ([\d.]+) s', path.read_text())
      for path in (pathlib.Path(run) / 'log.txt' for run in frame['folder'])
    ]
  own = (whole - sum(Popen.lives)) / len(frame)
  print(
    f'{len(frame)} runs, {(frame["status"] == "done").sum()} done: '
    f'{whole:.1f} s, of which runs {sum(Popen.lives):.1f}; '
    f"{own:.2f} s a run are the sweep's"
  )
  print('first step after', *(' '.join(first) for first in firsts), 's')


if __name__ == '__main__':
  main()
