"""What is read back from the directories of runs."""

import json
import math

import pytest

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig
from bertjax.reporting import run_reader
from bertjax.runs import model_file


def write_run(directory, values=(2.0, 1.0), **bindings):
  directory.mkdir(parents=True)
  (directory / 'metrics.jsonl').write_text(
    ''.join(
      json.dumps({'step': 10 * (i + 1), 'train/loss': value}) + '\n'
      for i, value in enumerate(values)
    )
  )
  (directory / 'config.gin').write_text(
    ''.join(f'{name} = {value!r}\n' for name, value in bindings.items())
  )
  write_model(directory)
  return str(directory)


def write_model(directory, objective=None, **fields):
  config = EncoderConfig(
    16, width=8, layers=1, heads=1, feed_forward=8, **fields
  )
  model_file.write(str(directory), {'': config}, objective)


def test_a_run_is_read_with_all_it_has(tmp_path):
  path = write_run(tmp_path / 'a', (2.0, None), LEARNING_RATE=0.1)
  state = tmp_path / 'a' / 'checkpoints' / '20' / 'state'
  state.mkdir(parents=True)
  (state / 'data').write_bytes(b'123')
  (run,) = run_reader.find(path)
  assert run.name == 'a'
  steps, values = run.metrics['train/loss']
  assert steps == [10, 20] and values[0] == 2.0 and math.isnan(values[1])
  assert run.bindings == {'LEARNING_RATE': '0.1'}
  assert run.checkpoints == {20: 3}


@pytest.mark.parametrize(
  'paths, names',
  [
    (['x/a/run', 'x/b/run'], ['a', 'b']),
    (['x/a', 'y/a'], ['x', 'y']),
    (['x/a/SST-2/seed_0', 'x/a/SST-2/seed_1'], ['seed_0', 'seed_1']),
  ],
)
def test_names_are_what_tells_runs_apart(tmp_path, paths, names):
  found = run_reader.find([write_run(tmp_path / path) for path in paths])
  assert [run.name for run in found] == names


def test_a_fine_tuning_is_all_its_runs_with_one_configuration(tmp_path):
  for seed in range(2):
    write_run(tmp_path / 'f' / 'CoLA' / f'seed_{seed}')
    (tmp_path / 'f' / 'CoLA' / f'seed_{seed}' / 'config.gin').unlink()
  (tmp_path / 'f' / 'config.gin').write_text('EPOCHS = 3\n')
  rows = [
    {
      'task': 'CoLA',
      'metrics': ['matthews'],
      'scores': {'eval/matthews': [1.0]},
      'seeds': [0],
      'best_run': 'CoLA/seed_0',
      'published': None,
    }
  ]
  (tmp_path / 'f' / 'results.json').write_text(json.dumps({'tasks': rows}))
  found = run_reader.find(str(tmp_path / 'f'))
  assert [run.name for run in found] == ['seed_0', 'seed_1']
  assert all(run.bindings == {'EPOCHS': '3'} for run in found)
  assert run_reader.results(str(tmp_path / 'f')) == [
    (str(tmp_path / 'f'), rows)
  ]


def test_a_sweep_is_all_its_runs(tmp_path):
  for rate in ('0.15', '0.3'):
    write_run(tmp_path / f'MASK_RATE={rate}' / 'seed_0' / 'run')
  begun = tmp_path / 'MASK_RATE=0.4' / 'seed_0' / 'run'
  begun.mkdir(parents=True)
  (begun / 'metrics.jsonl').write_text('')
  found = run_reader.find(str(tmp_path))
  assert [run.name for run in found] == ['MASK_RATE=0.15', 'MASK_RATE=0.3']
  then = tmp_path / 'MASK_RATE=0.3' / 'seed_0' / 'then' / 'CoLA' / 'seed_0'
  write_run(then)
  assert [run.directory for run in run_reader.find(str(tmp_path))][2:] == [
    str(then)
  ]


def test_what_is_no_run_is_one_line(tmp_path):
  with pytest.raises(UserError, match='no directory; set RUNS'):
    run_reader.find(str(tmp_path / 'nowhere'))
  with pytest.raises(UserError, match='no metrics.jsonl'):
    run_reader.find(str(tmp_path))
  write_run(tmp_path / 'b')
  (tmp_path / 'c').symlink_to(tmp_path / 'b')
  twice = [f'{tmp_path}/b', f'{tmp_path}/c']
  with pytest.raises(UserError, match='each run once, got .*/b.*; set RUNS'):
    run_reader.find(twice)
  (tmp_path / 'metrics.jsonl').write_text('')
  with pytest.raises(UserError, match='has logged nothing yet'):
    run_reader.find(str(tmp_path))
  with pytest.raises(UserError, match='got none; set RUNS'):
    run_reader.find([])
