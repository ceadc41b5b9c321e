"""Seconds from the command to the first step: cold, and with what a run left.

    PYTHONPATH=. python experiments/benchmarks/start_up.py
    PYTHONPATH=. python experiments/benchmarks/start_up.py --model bert_tiny \\
        --text_files novels.txt --vocab_file vocab.txt
    PYTHONPATH=. python experiments/benchmarks/start_up.py --recipe quickstart

Starts `python -m bertjax.main` each time in a new RUN_DIR: first with an empty
compilation cache, then with the programs that the first run left there, then
with its corpus too. Prints when each line came, and stops the run after its
first step; the step begins after the last line but one, and a small
`--batch_size` shortens it.
"""

import argparse
import glob
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata

RUNS = ('cold', 'with the programs', 'with the programs and the corpus')


def start(arguments: list[str], cache: str) -> list[tuple[float, str]]:
  """Runs until the first step; returns when, in seconds, each line came."""
  begin = time.perf_counter()
  process = subprocess.Popen(
    [sys.executable, '-u', '-m', 'bertjax.main', *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env=os.environ | {'JAX_COMPILATION_CACHE_DIR': cache},
  )
  lines = []
  try:
    for line in process.stdout:
      lines.append((time.perf_counter() - begin, line.strip()))
      if 'first step after' in line:
        return lines
  finally:
    process.send_signal(signal.SIGKILL)  # what it would write is not needed
    process.wait()
  sys.exit('no first step came:\n' + '\n'.join(line for _, line in lines[-3:]))


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--recipe', help='as it is, in place of the others')
  parser.add_argument(
    '--model', default='bert_base', help='a file of gin_configs/models'
  )
  parser.add_argument('--text_files', default='python_documentation')
  parser.add_argument('--vocab_file', help='else one of 8,192 is trained')
  parser.add_argument('--batch_size', type=int, default=8)
  parser.add_argument('--length', type=int, default=128)
  options = parser.parse_args()
  given = (
    [options.recipe]
    if options.recipe
    else [
      'pretrain_text',
      f'--gin_file=models/{options.model}.gin',
      f'--gin.BATCH_SIZE={options.batch_size}',
      f'--gin.LENGTH={options.length}',
      '--gin.TRAIN_STEPS=1000',
    ]
  )
  text = (
    []
    if options.recipe
    else [
      f'--gin.TEXT_FILES={options.text_files}',
      f'--gin.VOCAB_FILE={options.vocab_file}',
    ]
  )
  versions = ', '.join(
    f'{name} {metadata.version(name)}' for name in ('jax', 'jaxlib')
  )
  print(
    f'{platform.machine()}, {os.cpu_count()} cores, Python '
    f'{platform.python_version()}, {versions}; {" ".join(given)}'
  )
  with tempfile.TemporaryDirectory() as folder:
    for number, name in enumerate(RUNS):
      if number == 2:
        (corpus,) = glob.glob(f'{folder}/0/corpus/*/')
        text = [f'--gin.CORPUS_DIR={corpus}']
      lines = start(
        [*given, *text, f'--gin.RUN_DIR={folder}/{number}'],
        os.path.join(folder, 'compiled'),
      )
      print(f'{name}: first step after {lines[-1][0]:.1f} s')
      for second, line in lines:
        print(f'  {second:5.1f} {line[:70]}', flush=True)


if __name__ == '__main__':
  main()
