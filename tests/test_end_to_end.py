"""Runs as a user starts them: whole, resumed, killed, refused."""

import atexit
import functools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import gin
import numpy as np
import pytest

from bertjax import main
from bertjax.runs import metrics_file

ROOT = pathlib.Path(main.__file__).parent.parent


def write_corpus(path, documents=60):
  rng = np.random.default_rng(0)
  words = [''.join(rng.choice(list('abcdefghij'), 4)) for _ in range(200)]
  path.write_text(
    '\n\n'.join(
      '\n'.join(
        ' '.join(rng.choice(words, 8)).capitalize() + '.'
        for _ in range(rng.integers(2, 20))
      )
      for _ in range(documents)
    )
  )
  return str(path)


def arguments(corpus, run_dir, **macros):
  macros = {
    'TEXT_FILES': corpus,
    'RUN_DIR': run_dir,
    'VOCAB_SIZE': 300,
    'TRAIN_STEPS': 12,
    'BATCH_SIZE': 8,
    'LENGTH': 32,
    'LOG_STEPS': 5,
    'EVAL_STEPS': 6,
    'CHECKPOINT_STEPS': 4,
    **macros,
  }
  return [
    sys.executable,
    '-m',
    'bertjax.main',
    '--gin_file=gin_configs/recipes/pretrain_text.gin',
    '--gin_bindings=config.EncoderConfig.width = 32',
    '--gin_bindings=config.EncoderConfig.layers = 2',
    '--gin_bindings=config.EncoderConfig.heads = 2',
    '--gin_bindings=config.EncoderConfig.feed_forward = 64',
    *(f'--gin.{name}={value}' for name, value in macros.items()),
  ]


# As in conftest.py, but for one device.
FAST_COMPILATION = os.environ['XLA_FLAGS'].replace(
  '--xla_force_host_platform_device_count=8', ''
)


# Python reads it at its start: a process that takes a class or a function out
# of a pickle ends there. Numbers and texts alone cannot run anything.
NO_PICKLES = """
import os, sys
def refuse(event, arguments):
  if event == 'pickle.find_class':
    os.write(2, f'unpickles {arguments}\\n'.encode())
    os._exit(70)
sys.addaudithook(refuse)
"""


@functools.cache
def no_pickles():
  folder = pathlib.Path(tempfile.mkdtemp())
  (folder / 'sitecustomize.py').write_text(NO_PICKLES)
  atexit.register(shutil.rmtree, folder)
  return str(folder)


def environment():
  changes = {
    'XLA_FLAGS': FAST_COMPILATION,
    'PYTHONPATH': f'{no_pickles()}{os.pathsep}{ROOT}',
  }
  # What TensorFlow prints is main's to silence.
  kept = {k: v for k, v in os.environ.items() if not k.startswith('TF_')}
  return kept | changes


# Parameters so large that the first loss overflows.
NOT_FINITE = {'config.EncoderConfig.initializer_stddev': 1e30}


def run(corpus, run_dir, status=0, **macros):
  result = subprocess.run(
    arguments(corpus, run_dir, **macros),
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
  )
  assert result.returncode == status, result.stdout + result.stderr
  return result


def metrics(run_dir):
  """step -> values that do not depend on the clock."""
  lines = [
    json.loads(line)
    for line in (run_dir / 'metrics.jsonl').read_text().splitlines()
  ]
  steps = [line['step'] for line in lines]
  assert steps == sorted(set(steps))
  return {
    line['step']: {k: v for k, v in line.items() if not k.startswith('speed/')}
    for line in lines
  }


def checkpoint(run_dir, step):
  """Name -> bytes of every array of a checkpoint."""
  import orbax.checkpoint as ocp

  path = run_dir / 'checkpoints' / str(step) / 'state'
  tree = ocp.PyTreeCheckpointer().restore(path)
  import jax

  return {
    jax.tree_util.keystr(key): np.asarray(leaf).tobytes()
    for key, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  return write_corpus(tmp_path_factory.mktemp('text') / 'text.txt')


@pytest.fixture(autouse=True)
def fresh_gin():
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.fixture(scope='module')
def whole(corpus, tmp_path_factory):
  """A run whose first command had a mistake, which leaves no trace."""
  run_dir = tmp_path_factory.mktemp('whole') / 'run'
  _, _, _, *words = arguments('/nowhere/*.txt', run_dir, TRAIN_STEPS=1)
  assert main.main(['main', *words]) == 2
  return run_dir, run(corpus, run_dir)


def test_a_run_leaves_what_was_promised(whole):
  run_dir, result = whole
  for name in (
    'config.gin',
    'vocab.txt',
    'metrics.jsonl',
    'curves.png',
    'examples.jsonl',
  ):
    assert (run_dir / name).stat().st_size
  assert list((run_dir / 'tensorboard').iterdir())
  values = metrics(run_dir)
  assert sorted(values) == [5, 6, 10, 12]
  for step in (5, 10, 12):
    assert {
      'train/loss',
      'train/mlm_loss',
      'train/mlm_accuracy',
      'train/nsp_loss',
      'train/nsp_accuracy',
      'train/learning_rate',
      'train/grad_norm',
    } <= set(values[step])
  for step in (6, 12):
    assert {
      'eval/mlm_loss',
      'eval/mlm_accuracy',
      'eval/nsp_loss',
      'eval/nsp_accuracy',
      'eval/mlm_baseline',
      'eval/nsp_baseline',
    } <= set(values[step])
  for line in (run_dir / 'metrics.jsonl').read_text().splitlines():
    for name, value in json.loads(line).items():
      if name.startswith('train/'):
        assert value == float(np.float32(value))
  assert '[' in result.stdout.split('Held-out text')[1]


def test_a_run_says_what_it_waits_for_and_nothing_of_a_library_comes_between(
  whole,
):
  lines = whole[1].stderr.splitlines()
  assert [x for x in lines if not re.search(r': \d+\.\d s$', x)] == [
    'importing jax',
    'importing what the recipe needs',
    'training the vocabulary',
    'tokenizing',
    'initialising the parameters',
    'preparing the first batch',
    'compiling the step',
    'saving, and drawing the curves',
  ]


def test_a_run_ends_with_what_it_reached_where_it_lies_and_what_follows(whole):
  run_dir, result = whole
  reached, _, held, following = result.stdout.splitlines()[-4:]
  assert reached.startswith('step 12, eval: masked LM loss ')
  assert 'always the most frequent answer: 0.' in reached
  assert held == (
    f'{run_dir} holds curves.png, metrics.jsonl, checkpoints, model.json, '
    'vocab.txt, config.gin'
  )
  assert following.startswith('next: python -m bertjax.main finetune_text ')
  assert f' --gin.INIT_FROM={run_dir} ' in following
  assert 'batch:' not in result.stdout  # shapes are for a dry run


def test_a_process_that_unpickles_is_ended_by_these_tests():
  code = """
import pickle
print(pickle.loads(pickle.dumps([1, 'a'])), flush=True)
pickle.loads(pickle.dumps(pickle.Pickler))
print('not reached')
"""
  result = subprocess.run(
    [sys.executable, '-c', code],
    env=environment(),
    capture_output=True,
    text=True,
  )
  assert result.returncode == 70 and result.stdout == "[1, 'a']\n", result


def test_its_configuration_gives_the_same_run(whole, corpus, tmp_path):
  run_dir, _ = whole
  again = tmp_path / 'again'
  result = subprocess.run(
    [
      sys.executable,
      '-m',
      'bertjax.main',
      f'--gin_file={run_dir / "config.gin"}',
      f'--gin.RUN_DIR={again}',
    ],
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  assert metrics(again) == metrics(run_dir)


def test_a_run_that_sigterm_stopped_goes_on_as_if_it_had_not(
  whole, corpus, tmp_path
):
  run_dir, _ = whole
  stopped = tmp_path / 'run'
  process = subprocess.Popen(
    arguments(corpus, stopped),
    cwd=ROOT,
    env=environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  for line in process.stdout:
    if line.startswith('first step'):
      process.send_signal(signal.SIGTERM)
  _, error = process.communicate()
  # Evaluation and saving are still to be compiled: it cannot be at its end.
  assert process.returncode == 128 + signal.SIGTERM, error
  assert 'same command goes on' in error and 'Traceback' not in error
  run(corpus, stopped)
  assert metrics(stopped) == metrics(run_dir)
  assert list(metrics_file.read_examples(run_dir)) == [6, 12]
  assert metrics_file.read_examples(stopped) == metrics_file.read_examples(
    run_dir
  )
  assert checkpoint(stopped, 12) == checkpoint(run_dir, 12)


def test_sigterm_before_the_first_step_ends_the_run_at_once(
  corpus, tmp_path, errors
):
  process = subprocess.Popen(
    arguments(corpus, tmp_path / 'run'),
    cwd=ROOT,
    env=environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  for line in process.stdout:
    if ' documents, ' in line:  # then, parameters and compilation
      break
  time.sleep(0.5)
  process.send_signal(signal.SIGTERM)
  began = time.monotonic()
  output, error = process.communicate()
  assert time.monotonic() - began < 5
  assert process.returncode == 128 + signal.SIGTERM, error
  (line,) = errors(error)
  assert line.startswith('bertjax: ended by SIGTERM'), error
  assert 'first step' not in output


@pytest.mark.slow
def test_a_longer_run_goes_on_and_another_configuration_is_refused(
  whole, corpus, tmp_path, errors
):
  run_dir = tmp_path / 'run'
  run(corpus, run_dir, TRAIN_STEPS=4)
  refused = run(corpus, run_dir, status=2, LEARNING_RATE=0.5)
  assert 'LEARNING_RATE' in refused.stderr
  assert len(errors(refused.stderr)) == 1
  longer = run(corpus, run_dir, TRAIN_STEPS=6, LOG_STEPS=2)
  assert 'continuing from step 4' in longer.stdout
  assert max(metrics(run_dir)) == 6


@pytest.mark.parametrize(
  'macros, words',
  [
    ({'BATCH_SIZE': 0}, 'BATCH_SIZE'),
    ({'VOCAB_FILE': '/nowhere/vocab.txt'}, 'VOCAB_FILE'),
    *(
      pytest.param(macros, words, marks=pytest.mark.slow)
      for macros, words in (
        ({'WARMUP_STEPS': 50}, 'WARMUP_STEPS'),
        ({'MASK_UNIT': 'sentence'}, 'MASK_UNIT'),
      )
    ),
  ],
)
def test_wrong_input_is_one_line(
  corpus, tmp_path, capfd, errors, macros, words
):
  (refusal,) = errors(refused(capfd, corpus, tmp_path / 'run', **macros))
  assert words in refusal


def refused(capfd, corpus, run_dir, **macros):
  """Returns what a run that is refused says, in this process."""
  _, _, _, *words = arguments(corpus, run_dir, **macros)
  status = main.main(['main', *words])
  error = capfd.readouterr().err
  assert status == 2, error
  return error


def test_one_document_is_too_few_for_next_sentences(tmp_path, capfd, errors):
  file = tmp_path / 'one.txt'
  file.write_text('Only one.\nBut two sentences of it.\n')
  (line,) = errors(refused(capfd, str(file), tmp_path / 'run'))
  assert 'NSP=False' in line


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run(corpus, tmp_path, errors):
  result = run(corpus, tmp_path / 'run', status=1, **NOT_FINITE)
  assert 'not finite' in result.stderr and 'step 0' in result.stderr
  assert len(errors(result.stderr)) == 1


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_byte_level_bpe_learns_and_goes_on_where_it_was_killed(
  corpus, tmp_path
):
  macros = {
    'TOKENIZER': 'bpe',
    'TRAIN_STEPS': 40,
    'EVAL_STEPS': 20,
    'LEARNING_RATE': 0.01,
  }
  run_dir, killed = tmp_path / 'whole', tmp_path / 'killed'
  run(corpus, run_dir, **macros)
  assert (run_dir / 'tokenizer.json').exists()
  assert not (run_dir / 'vocab.txt').exists()
  first, last = (metrics(run_dir)[step]['train/mlm_loss'] for step in (5, 40))
  assert last < first - 0.3
  process = subprocess.Popen(
    arguments(corpus, killed, **macros),
    cwd=ROOT,
    env=environment(),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  while not (killed / 'checkpoints' / '8').exists():
    assert process.poll() is None
    time.sleep(0.01)
  process.kill()
  process.communicate()
  run(corpus, killed, **macros)
  assert metrics(killed) == metrics(run_dir)
  assert checkpoint(killed, 40) == checkpoint(run_dir, 40)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_runs_killed_at_random_moments_end_as_one_that_was_not(
  whole, corpus, tmp_path
):
  """Ten SIGKILLs, at any moment from the start of the process on."""
  seed = random.SystemRandom().randrange(2**32)
  print(f'seed {seed}')
  rng = random.Random(seed)
  run_dir, _ = whole
  killed = tmp_path / 'run'
  kills = 0
  longest = 15.0  # seconds; about what the whole run takes
  while kills < 10:
    process = subprocess.Popen(
      arguments(corpus, killed),
      cwd=ROOT,
      env=environment(),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    deadline = time.monotonic() + rng.uniform(1.0, longest)
    while time.monotonic() < deadline and process.poll() is None:
      time.sleep(0.02)
    if process.poll() is None:
      process.kill()
      process.communicate()
      kills += 1
    else:
      _, error = process.communicate()
      assert process.returncode == 0, f'seed {seed}: {error}'
      # It ended: the next kills hit a run that starts anew.
      assert metrics(killed) == metrics(run_dir), f'seed {seed}'
      assert checkpoint(killed, 12) == checkpoint(run_dir, 12), f'seed {seed}'
      killed = tmp_path / f'run_{kills}'
  run(corpus, killed)
  assert metrics(killed) == metrics(run_dir), f'seed {seed}'
  assert checkpoint(killed, 12) == checkpoint(run_dir, 12), f'seed {seed}'
