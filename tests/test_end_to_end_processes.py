"""A run by several processes, as a user starts them, against one process."""

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import test_end_to_end as one_process

STEPS = {
  'TRAIN_STEPS': 6,
  'LOG_STEPS': 1,
  'EVAL_STEPS': 4,
  'CHECKPOINT_STEPS': 2,
}


def free_address():
  with socket.create_server(('localhost', 0)) as server:
    return f'localhost:{server.getsockname()[1]}'


def launch(count, *options, devices=1):
  """Starts the same command line `count` times."""
  address = free_address()
  flags = (
    f'{one_process.FAST_COMPILATION} '
    f'--xla_force_host_platform_device_count={devices}'
  )
  return [
    subprocess.Popen(
      [
        sys.executable,
        '-m',
        'bertjax.main',
        *options,
        f'--coordinator_address={address}',
        f'--process_count={count}',
        f'--process_index={index}',
      ],
      cwd=one_process.ROOT,
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      env=one_process.environment() | {'XLA_FLAGS': flags},
    )
    for index in range(count)
  ]


def start(corpus, run_dir, count, *options, devices=1, **macros):
  """Starts the same pretraining `count` times."""
  _, _, _, *arguments = one_process.arguments(corpus, run_dir, **STEPS | macros)
  return launch(count, *arguments, *options, devices=devices)


def finish(processes):
  """Returns (status, output, error) of each."""
  try:
    outputs = [process.communicate(timeout=300) for process in processes]
  finally:
    for process in processes:
      process.kill()
  return [
    (process.returncode, *texts)
    for process, texts in zip(processes, outputs, strict=True)
  ]


def run(*arguments, **named):
  ended = finish(start(*arguments, **named))
  assert [status for status, _, _ in ended] == [0] * len(ended), ended
  return ended


def run_alone(corpus, run_dir, *bindings, **macros):
  """The same run by one process, with four devices."""
  run(corpus, run_dir, 1, *bindings, devices=4, **macros)


def assert_same_metrics(some, other):
  """Sums over devices round differently, by up to 1e-5."""
  some, other = one_process.metrics(some), one_process.metrics(other)
  assert some.keys() == other.keys() and some
  for step, values in some.items():
    assert values.keys() == other[step].keys()
    for name, value in values.items():
      np.testing.assert_allclose(
        value, other[step][name], rtol=1e-5, atol=1e-6, err_msg=name
      )


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  return one_process.write_corpus(tmp_path_factory.mktemp('text') / 'text.txt')


@pytest.fixture(scope='module')
def alone(corpus, tmp_path_factory):
  run_dir = tmp_path_factory.mktemp('alone') / 'run'
  run_alone(corpus, run_dir)
  return run_dir


@pytest.fixture(scope='module')
def together(corpus, tmp_path_factory):
  run_dir = tmp_path_factory.mktemp('together') / 'run'
  return run_dir, run(corpus, run_dir, 2)


def assert_goes_on_later(ended):
  status, _, error = ended
  assert status == 1, error
  line = error.splitlines()[-1]
  assert line.startswith('bertjax: process '), error
  assert 'the same command on all machines goes on' in line, error


def copy_until(run_dir, copy, step):
  """Copies a run as it would stand after a kill that follows a step."""
  shutil.copytree(run_dir, copy)
  for path in (copy / 'checkpoints').iterdir():
    if int(path.name) > step:
      shutil.rmtree(path)


def test_two_processes_leave_one_set_of_files(together, errors):
  run_dir, (first, second) = together
  assert "mesh: {'data': 2, 'fsdp': 1, 'tensor': 1}" in first[1]
  assert 'Held-out text' in first[1]
  assert len(second[1].splitlines()) == 1 and not errors(second[2]), second
  for name in ('config.gin', 'vocab.txt', 'model.json', 'curves.png'):
    assert (run_dir / name).stat().st_size
  assert len(list((run_dir / 'tensorboard').iterdir())) == 1


@pytest.mark.slow
def test_one_process_goes_on_from_the_checkpoint_of_two_as_they_did(
  together, corpus, tmp_path
):
  copy_until(together[0], tmp_path / 'run', 2)
  run_alone(
    corpus,
    tmp_path / 'run',
    '--gin.partitioning.make_mesh.fsdp=2',
    '--gin.partitioning.make_mesh.tensor=2',
  )
  assert_same_metrics(tmp_path / 'run', together[0])


@pytest.mark.slow
def test_prediction_by_two_is_refused_in_one_line(tmp_path, errors):
  started = launch(
    2,
    '--gin_file=recipes/predict.gin',
    f'--gin.MODEL={tmp_path}',
    f'--gin.INPUT={tmp_path / "in.txt"}',
    f'--gin.OUTPUT={tmp_path / "out.jsonl"}',
  )
  for status, _, error in finish(started):
    (line,) = errors(error)
    assert status == 2 and 'runs in one process, got 2' in line
  assert not list(tmp_path.iterdir())


def fine_tune(folder, run_dir, count, devices, pack):
  """Fine-tunes from nothing by `count` processes; a label is a number, so that
  each held-out example moves the score, whatever the model has learned."""
  words = ['good', 'bad', 'a', 'film', 'very', 'long', 'short', 'story']
  rng = random.Random(0)
  for name, lines in (('train', 52), ('dev', 21)):
    rows = ['text,label']
    for _ in range(lines):
      some = rng.choices(words, k=rng.randrange(2, 12))
      rows.append(f'{" ".join(some)},{some.count("good") - len(some) / 8}')
    (folder / f'{name}.csv').write_text('\n'.join(rows) + '\n')
  (folder / 'vocab.txt').write_text(
    '\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *words]) + '\n'
  )
  macros = {
    'TRAIN_FILES': folder / 'train.csv',
    'EVAL_FILES': folder / 'dev.csv',
    'VOCAB_FILE': folder / 'vocab.txt',
    'RUN_DIR': run_dir,
    'SEEDS': (0, 1),
    'KIND': 'number',
    'PACK': pack,
    'BATCH_SIZE': 8,
    'LENGTH': 16,
    'EPOCHS': 2,
    'LOG_STEPS': 1,
    'LEARNING_RATE': 1e-3,
  }
  return finish(
    launch(
      count,
      '--gin_file=recipes/finetune_text.gin',
      '--gin_file=models/bert_tiny.gin',
      *(f'--gin.{key}={value}' for key, value in macros.items()),
      devices=devices,
    )
  )


@pytest.mark.slow
@pytest.mark.parametrize('pack', [False, True])
def test_two_processes_fine_tune_as_one_does(tmp_path, pack):
  for name, count, devices in (('one', 1, 2), ('two', 2, 1)):
    ended = fine_tune(tmp_path, tmp_path / name, count, devices, pack)
    assert [status for status, _, _ in ended] == [0] * count, ended
  assert '| text' in ended[0][1] and '| text' not in ended[1][1]
  for seed in ('seed_0', 'seed_1'):
    runs = [tmp_path / name / 'text' / seed for name in ('one', 'two')]
    assert_same_metrics(*runs)
    one, two = (json.loads((run / 'result.json').read_text()) for run in runs)
    assert one['step'] == two['step'] and one['values'] == pytest.approx(
      two['values'], 1e-5
    )
  assert (tmp_path / 'two' / 'results.md').read_text() == (
    tmp_path / 'one' / 'results.md'
  ).read_text()


@pytest.mark.slow
def test_four_processes_go_on_from_the_checkpoint_of_one(
  alone, corpus, tmp_path
):
  copy_until(alone, tmp_path / 'run', 2)
  run(
    corpus,
    tmp_path / 'run',
    4,
    '--gin.partitioning.make_mesh.tensor=2',
    '--gin.partitioning.make_mesh.fsdp=2',
    devices=2,
  )
  assert_same_metrics(tmp_path / 'run', alone)


@pytest.mark.slow
def test_two_processes_lose_what_one_loses(together, alone):
  assert_same_metrics(together[0], alone)


@pytest.mark.slow
def test_four_processes_lose_what_one_loses(alone, corpus, tmp_path):
  run(corpus, tmp_path / 'run', 4)
  assert_same_metrics(tmp_path / 'run', alone)


@pytest.mark.slow
def test_sigterm_to_one_stops_all_at_the_same_step(alone, corpus, tmp_path):
  processes = start(corpus, tmp_path / 'run', 2)
  for line in processes[0].stdout:
    if line.startswith('first step'):
      processes[1].send_signal(signal.SIGTERM)
      break
  lines = []
  for status, _, error in finish(processes):
    assert status == 128 + signal.SIGTERM, error
    lines.append(error.strip().splitlines()[-1])
  assert lines[0] == lines[1] and 'stopped by SIGTERM at step' in lines[0]
  run(corpus, tmp_path / 'run', 2)
  assert_same_metrics(tmp_path / 'run', alone)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_all_in_one_line(
  corpus, tmp_path, errors
):
  ended = finish(start(corpus, tmp_path / 'run', 2, **one_process.NOT_FINITE))
  for status, _, error in ended:
    (line,) = errors(error)
    assert status == 1 and 'not finite' in line


@pytest.mark.slow
def test_a_mistake_that_only_the_first_can_find_ends_both(
  corpus, tmp_path, errors
):
  (tmp_path / 'run').mkdir()
  with (tmp_path / 'run' / '.lock').open('a+') as held:
    fcntl.flock(held, fcntl.LOCK_EX)
    first, second = finish(start(corpus, tmp_path / 'run', 2))
  assert first[0] == 2 and 'is in use by' in first[2], first
  assert len(errors(first[2])) == 1, first
  assert_goes_on_later(second)


@pytest.mark.slow
def test_a_dry_run_by_two_leaves_nothing(corpus, tmp_path):
  first, second = run(corpus, tmp_path / 'run', 2, '--dry_run')
  assert 'parameters: ' in first[1] and 'parameters: ' not in second[1]
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_runs_with_one_process_killed_at_random_end_as_one_that_was_not(
  alone, corpus, tmp_path
):
  seed = int(os.environ.get('SEED', random.SystemRandom().randrange(2**32)))
  print(f'seed {seed}')
  rng = random.Random(seed)
  run_dir = tmp_path / 'run'
  began = time.monotonic()
  run(corpus, tmp_path / 'timed', 2)
  longest = time.monotonic() - began
  for _ in range(2):
    processes = start(corpus, run_dir, 2)
    victim = rng.randrange(2)
    # Not before they have met, which comes first.
    deadline = time.monotonic() + rng.uniform(0.4, 0.95) * longest
    while time.monotonic() < deadline and processes[0].poll() is None:
      time.sleep(0.02)
    processes[victim].kill()
    killed = time.monotonic()
    other = finish(processes)[1 - victim]
    if other[0] == 0:  # it was at its end
      break
    assert time.monotonic() - killed < 60
    assert_goes_on_later(other)
  run(corpus, run_dir, 2)
  assert_same_metrics(run_dir, alone)
  assert json.loads((run_dir / 'model.json').read_text())
