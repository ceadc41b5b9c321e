"""A run directory belongs to one run at a time and to one configuration."""

import errno
import fcntl
import os
import socket
import subprocess
import sys

import gin
import pytest

from bertjax.errors import UserError
from bertjax.runs import gin_bindings, run_directory

BASE = """from __gin__ import dynamic_registration
from bertjax.training import schedules

# Macros:
# ==============================================================================
LENGTH = 128
LOG_STEPS = 10
RUN_DIR = 'x'
TRAIN_STEPS = 100

# Parameters for loop.train:
# ==============================================================================
loop.train.length = %LENGTH
loop.train.log_steps = %LOG_STEPS
optimizer.adamw.weight_decay = 0.01
"""


def run(directory, configuration=BASE, **arguments):
  with run_directory.claim(str(directory), configuration, **arguments):
    (directory / 'checkpoints' / '0').mkdir(parents=True, exist_ok=True)


@pytest.fixture
def clean_gin():
  gin.clear_config()
  yield
  gin.clear_config()


def test_bindings_of_a_real_gin_configuration_are_parsed(clean_gin):
  long = 'a sentence that is longer than a line of eighty columns, # a = b ' * 2
  gin.parse_config(f"""
      from __gin__ import dynamic_registration
      from bertjax.training import schedules
      PEAK = 1e-4
      STEPS = None
      LONG = '{long}'
      LIST = ['{'a' * 40}', '{'b' * 40}', {{'k': (1, 2)}}]
      schedules.warmup_linear.peak = %PEAK
      schedules.warmup_linear.warmup_steps = %STEPS
      finetune/schedules.warmup_linear.total_steps = 7
      schedules.warmup_cosine.peak = @schedules.warmup_linear()
      schedules.warmup_cosine.end = [%LONG, %LIST]
  """)
  bindings = gin_bindings.parse(gin.config_str())
  strings = {name: bindings.pop(name) for name in ('LONG', 'LIST')}
  assert bindings == {
    'PEAK': '0.0001',
    'STEPS': 'None',
    'schedules.warmup_linear.peak': '%PEAK',
    'schedules.warmup_linear.warmup_steps': '%STEPS',
    'finetune/schedules.warmup_linear.total_steps': '7',
    'schedules.warmup_cosine.peak': '@schedules.warmup_linear()',
    'schedules.warmup_cosine.end': '[%LONG, %LIST]',
  }
  assert gin.config.parse_value(strings['LONG']) == long
  assert gin.config.parse_value(strings['LIST']) == [
    'a' * 40,
    'b' * 40,
    {'k': (1, 2)},
  ]


def test_a_new_directory_gets_the_configuration(tmp_path):
  run(tmp_path / 'runs' / 'x')
  assert (tmp_path / 'runs/x/config.gin').read_text() == BASE


def test_the_same_configuration_goes_on_in_silence(tmp_path, capsys):
  run(tmp_path)
  run(tmp_path)
  assert capsys.readouterr().out == ''


def test_another_configuration_is_refused_with_the_difference(tmp_path):
  run(tmp_path)
  other = BASE.replace('LENGTH = 128', 'LENGTH = 256').replace(
    'optimizer.adamw.weight_decay = 0.01', 'optimizer.lamb.beta1 = 0.9'
  )
  with pytest.raises(UserError) as raised:
    run(tmp_path, other)
  line = str(raised.value)
  assert 'LENGTH 128 -> 256' in line
  assert 'optimizer.adamw.weight_decay 0.01 -> (unset)' in line
  assert 'optimizer.lamb.beta1 (unset) -> 0.9' in line
  assert 'RUN_DIR' in line and run_directory.OVERRIDE in line
  assert '\n' not in line
  assert (tmp_path / 'config.gin').read_text() == BASE


def test_a_run_that_a_mistake_ended_is_no_obstacle(tmp_path):
  with pytest.raises(UserError, match='no such file'):
    with run_directory.claim(str(tmp_path), BASE.replace('128', '64')):
      raise UserError('no such file')
  run(tmp_path)
  assert (tmp_path / 'config.gin').read_text() == BASE


@pytest.mark.parametrize('left', ['vocab.txt', 'checkpoints/0'])
def test_a_vocabulary_or_a_checkpoint_is_of_one_configuration(tmp_path, left):
  with run_directory.claim(str(tmp_path), BASE):
    (tmp_path / left).mkdir(parents=True)
    (tmp_path / left / 'file').write_text('')
  with pytest.raises(UserError, match='LENGTH 128 -> 64'):
    run(tmp_path, BASE.replace('128', '64'))


def test_another_configuration_is_taken_when_told_to(tmp_path):
  run(tmp_path)
  other = BASE.replace('128', '256')
  run(tmp_path, other, allow_difference=True)
  assert (tmp_path / 'config.gin').read_text() == other


@pytest.mark.parametrize(
  'name', ['config.json', 'model.safetensors', 'COMPLETED']
)
def test_a_folder_of_another_kind_is_no_run_directory(tmp_path, name):
  (tmp_path / name).touch()
  with pytest.raises(UserError, match=f'holds {name}, .*set RUN_DIR to'):
    run(tmp_path)
  assert os.listdir(tmp_path) == [name]


def test_another_number_of_steps_is_a_warning(tmp_path, capsys):
  run(tmp_path)
  run(tmp_path, BASE.replace('TRAIN_STEPS = 100', 'TRAIN_STEPS = 200'))
  assert 'TRAIN_STEPS 100 -> 200' in capsys.readouterr().out


@pytest.mark.parametrize(
  'binding',
  [
    'RUN_DIR = 1',
    'LOG_STEPS = 1',
    'EVAL_STEPS = 1',
    'CHECKPOINT_STEPS = 1',
    'loop.train.log_steps = 1',
    'loop.train.checkpoint_steps = 1',
    'main.run.directory = 1',
    'main.run.init_from = %INIT_FROM',
    'loop.train.mesh = @partitioning.other_mesh()',
    'partitioning.make_mesh.fsdp = 8',
    "config.EncoderConfig.attention_kernel = 'splash'",
    'loop.train.profile_steps = 1',
    'main.run.several_processes = True',
    'partitioning.process_rows.mesh = @partitioning.make_mesh()',
    'pipeline.batches.process_rows = @partitioning.process_rows()',
    'ALLOW_DIFFERENCE = True',
  ],
)
def test_what_does_not_change_the_result_is_no_difference(binding):
  before = '\n'.join(
    line
    for line in BASE.split('\n')
    if not line.startswith(binding.split(' ')[0] + ' ')
  )
  assert gin_bindings.differences(before, f'{before}\n{binding}\n') == ([], [])


@pytest.mark.parametrize(
  'binding',
  [
    'SEED = 1',
    'WARMUP_STEPS = 1',
    'loop.train.accumulation = 2',
    'config.EncoderConfig.dtype = 1',
    'pipeline.batches.seed = 1',
  ],
)
def test_what_changes_the_result_is_a_difference(binding):
  assert gin_bindings.differences(BASE, f'{BASE}{binding}\n')[0]


def test_the_lock_names_the_process_that_holds_it(tmp_path):
  with run_directory.claim(str(tmp_path), BASE):
    with pytest.raises(UserError) as raised:
      run(tmp_path)
  line = str(raised.value)
  assert f'process {os.getpid()} on {socket.gethostname()}' in line
  assert '\n' not in line
  run(tmp_path)  # and it is free again


def test_a_killed_run_leaves_no_obstacle(tmp_path):
  script = (
    'import os, sys; from bertjax.runs import run_directory\n'
    'with run_directory.claim(sys.argv[1], ""):\n'
    '  print("held", flush=True); sys.stdin.read()'
  )
  holder = subprocess.Popen(
    [sys.executable, '-c', script, str(tmp_path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  )
  assert holder.stdout.readline() == b'held\n'
  with pytest.raises(UserError, match=f'in use by process {holder.pid} '):
    run(tmp_path, '')
  holder.kill()
  holder.communicate()
  left = (tmp_path / '.lock').read_text()
  assert left == f'process {holder.pid} on {socket.gethostname()}'
  run(tmp_path, '')


@pytest.fixture(params=['ENOSYS', 'ENOLCK', 'EOPNOTSUPP'])
def no_locks(request, monkeypatch):
  def flock(*_):
    raise OSError(getattr(errno, request.param), 'no locks')

  monkeypatch.setattr(fcntl, 'flock', flock)


@pytest.mark.usefixtures('no_locks')
def test_without_locks_of_the_file_system_a_running_process_holds(tmp_path):
  with run_directory.claim(str(tmp_path), BASE):
    with pytest.raises(
      UserError, match=f'by process {os.getpid()} on '
    ) as told:
      run(tmp_path)
  assert f'({tmp_path}/.lock.held); if it is dead, delete' in str(told.value)
  assert not (tmp_path / '.lock.held').exists()
  run(tmp_path)


@pytest.mark.usefixtures('no_locks')
@pytest.mark.parametrize('is_here', [True, False])
def test_without_locks_only_a_dead_process_of_this_host_is_no_obstacle(
  tmp_path, is_here
):
  left = tmp_path / '.lock.held'
  with run_directory.claim(str(tmp_path), BASE):
    named = (tmp_path / '.lock').read_text()
    _, host, *more = left.read_text().split()
  host = host if is_here else 'elsewhere'
  # The process: beyond Linux's largest id.
  left.write_text('\n'.join(('4194305', host, *more, '')))
  (tmp_path / '.lock').write_text(named)
  if not is_here:
    with pytest.raises(UserError, match=f'by process {os.getpid()} on '):
      run(tmp_path)
    left.unlink()
    (tmp_path / '.lock').unlink()
  run(tmp_path)
  assert not left.exists()


@pytest.mark.usefixtures('no_locks')
def test_a_holder_with_locks_keeps_out_a_process_that_has_none(tmp_path):
  (tmp_path / '.lock').write_text('process 12 on elsewhere')
  with pytest.raises(UserError, match='by process 12 on elsewhere .*if it is'):
    run(tmp_path)
  (tmp_path / '.lock').unlink()
  run(tmp_path)


def test_an_error_of_the_run_passes_through_and_frees_the_directory(tmp_path):
  with pytest.raises(OSError, match='of the run'):
    with run_directory.claim(str(tmp_path), BASE):
      raise OSError('of the run')
  run(tmp_path)


def test_checkpoints_without_configuration_are_refused(tmp_path):
  (tmp_path / 'checkpoints' / '5').mkdir(parents=True)
  with pytest.raises(UserError, match='no config.gin to compare'):
    run(tmp_path)
  run(tmp_path, allow_difference=True)


def test_other_files_in_the_directory_are_left_alone(tmp_path):
  (tmp_path / 'notes.txt').write_text('mine')
  (tmp_path / 'checkpoints').mkdir()
  run(tmp_path)
  assert (tmp_path / 'notes.txt').read_text() == 'mine'


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path):
  (tmp_path / 'file').write_text('')
  for directory in (tmp_path / 'file', tmp_path / 'file' / 'x'):
    with pytest.raises(UserError, match='set RUN_DIR') as raised:
      run(directory)
    assert '\n' not in str(raised.value)


def test_a_directory_at_home_is_made_there(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir(tmp_path)
  with run_directory.claim('~/runs/x', BASE):
    assert (tmp_path / 'runs' / 'x' / 'config.gin').is_file()
  assert os.listdir(tmp_path) == ['runs']


def test_a_directory_of_another_file_system_is_refused(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with (
    pytest.raises(UserError, match='on this machine, got .gs://bucket/x'),
    run_directory.claim('gs://bucket/x', BASE),
  ):
    pass
  assert os.listdir(tmp_path) == []


def test_a_configuration_that_is_not_utf_8_is_one_line(tmp_path):
  run(tmp_path)
  (tmp_path / 'config.gin').write_bytes(b'SEED = \xff')
  for read in (lambda: gin_bindings.read(str(tmp_path)), lambda: run(tmp_path)):
    with pytest.raises(
      UserError, match='UTF-8 in .*/config.gin, got byte 0xff'
    ):
      read()


def test_a_path_with_a_nul_is_refused():
  with pytest.raises(UserError, match='a path in UTF-8 on this machine'):
    run_directory.claim('a\0b', BASE).__enter__()
