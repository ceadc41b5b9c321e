"""The benchmark scripts, at sizes that measure nothing."""

import pathlib
import random
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
BLOCKED = ('tensorflow', 'seqio', 'gin', 'torch', 'transformers')


def run(script, *flags):
  """Runs a script where what it does without cannot be imported."""
  folder = ROOT / 'experiments' / 'benchmarks'
  code = (
    'import runpy, sys\n'
    f'for name in {BLOCKED}: sys.modules[name] = None\n'
    f'sys.path[:0] = [{str(ROOT)!r}, {str(folder)!r}]\n'
    f'sys.argv = [{script!r}, *{flags}]\n'
    f'runpy.run_path({str(folder / script)!r}, run_name="__main__")\n'
  )
  return subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True
  )


@pytest.mark.slow
def test_a_step_is_timed_without_tensorflow_gin_and_torch():
  done = run(
    'step_time.py',
    '--sizes',
    'tiny',
    '--batch_size',
    '2',
    '--length',
    '16',
    '--vocabulary_size',
    '64',
    '--repetitions',
    '1',
    '--options',
    'xla_cpu_use_xnnpack=False',
  )
  assert done.returncode == 0, done.stderr
  for form in ('floor', 'bertjax', 'bertjax xla_cpu_use_xnnpack=False'):
    (row,) = (x for x in done.stdout.splitlines() if f'| {form} |' in x)
    assert 'Error' not in row


def test_products_are_timed_without_torch():
  small = ['--width', '8', '--positions', '8', '--vocabulary', '16']
  done = run('products.py', *small, '--repetitions', '1')
  assert done.returncode == 0, done.stderr
  assert len(done.stdout.splitlines()) == 11 and 'Error' not in done.stdout


def test_attention_is_timed_and_a_kernel_that_is_not_there_says_so():
  done = run(
    'attention.py',
    '--lengths',
    '16',
    '--positions',
    '32',
    '--heads',
    '1',
    '--repetitions',
    '1',
    '--kernels',
    'einsum',
    'splash',
  )
  assert done.returncode == 0, done.stderr
  rows = [line for line in done.stdout.splitlines() if line.startswith('| 16')]
  assert len(rows) == 2 * 2 * 2
  assert sum('no such kernel' in row for row in rows) == 4


@pytest.mark.slow
def test_meshes_are_timed_with_their_collectives():
  done = run(
    'mesh_scaling.py',
    '--devices',
    '2',
    '--length',
    '16',
    '--rows',
    '2',
    '--vocabulary_size',
    '64',
    '--repetitions',
    '1',
  )
  assert done.returncode == 0, done.stderr
  rows = [line for line in done.stdout.splitlines() if '| data 2 |' in line]
  assert len(rows) == 2 and all('all-reduce' in row for row in rows)


def test_a_wrong_flag_is_one_line():
  done = run('step_time.py', '--batches', 'missing.npz')
  assert done.returncode == 2
  assert 'missing.npz' in done.stderr and len(done.stderr.splitlines()) == 1


def test_planted_duplicates_are_found(tmp_path):
  rng = random.Random(0)
  lines = [
    ' '.join(f'w{rng.randrange(5000)}' for _ in range(100)) for _ in range(400)
  ]
  path = tmp_path / 'text.txt'
  path.write_text('\n'.join(lines))
  done = run('duplicates.py', str(path), '--words', '100')
  assert not done.returncode, done.stderr
  assert re.search(r'\| bertjax \| 1.0000 \|', done.stdout)
