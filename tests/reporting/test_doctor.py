"""What the doctor says of healthy runs and of each kind of broken one."""

import json
import math
import os

import numpy as np
import pytest

from bertjax.errors import RunStopped, UserError
from bertjax.reporting import doctor, health_checks, references, run_reader
from bertjax.runs import model_file, plotter
from bertjax.runs.plotter import Diagram, Line

STEPS = range(100, 2001, 100)


def healthy(step, noise):
  """Curves of the shape that pretraining has."""
  done = step / 2000
  loss = 8 - 3 * done + noise
  values = {
    'train/loss': loss + 0.5,
    'train/mlm_loss': loss,
    'train/mlm_accuracy': 0.2 * done + noise / 10,
    'train/nsp_accuracy': 0.5 + 0.3 * done + noise / 10,
    'train/grad_norm': 2 + noise,
    'train/learning_rate': 1e-3 * (1 - done),
    'train/masked_fraction': 0.142,
    'train/visible_fraction': 0.1,
    'train/random_pair_fraction': 0.5,
    'speed/data_wait_fraction': 0.02,
    'speed/step_seconds': 0.1,
  }
  if step % 500 == 0:
    values['eval/mlm_loss'] = loss + 0.1
  return values


def write(
  directory, seed, change=lambda step, values: values, steps=STEPS, **bindings
):
  directory.mkdir(parents=True)
  rng = np.random.default_rng(seed)
  with open(directory / 'metrics.jsonl', 'w') as file:
    for step in steps:
      values = healthy(step, rng.normal(scale=0.02))
      values = change(step, values)
      file.write(
        json.dumps(
          {'step': step}
          | {
            name: value if math.isfinite(value) else None  # as in a real run
            for name, value in values.items()
          }
        )
        + '\n'
      )
  bindings = {'SEED': seed, 'TEXT_FILES': 'a', **bindings}
  (directory / 'config.gin').write_text(
    ''.join(f'{name} = {value!r}\n' for name, value in bindings.items())
  )
  (directory / 'model.json').write_text(
    json.dumps(
      {
        'encoder': {
          'vocabulary_size': 4096,
          'width': 8,
          'layers': 1,
          'heads': 1,
          'feed_forward': 8,
        }
      }
    )
  )
  return str(directory)


@pytest.fixture(scope='module')
def reference(tmp_path_factory):
  folder = tmp_path_factory.mktemp('reference')
  paths = [write(folder / str(seed), seed) for seed in range(3)]
  output = str(folder / 'healthy.json')
  references.make(runs=paths, output=output)
  return output


def off(path, reference):
  findings = doctor.examine(run_reader.read(path), references.read(reference))
  return {
    name: finding.text for name, finding in findings.items() if not finding.ok
  }


@pytest.mark.parametrize('seed', range(10, 20))
def test_healthy_runs_pass(tmp_path, reference, seed):
  assert off(write(tmp_path / 'run', seed), reference) == {}


def test_one_that_goes_on_and_one_that_logs_more_rarely_pass(
  tmp_path, reference
):
  assert off(write(tmp_path / 'a', 10, steps=STEPS[:4]), reference) == {}
  assert off(write(tmp_path / 'b', 10, steps=STEPS[2::3]), reference) == {}


def changed(name, value):
  return lambda step, values: values | {name: value(step, values)}


def test_one_that_logs_more_often_passes(tmp_path):
  """Where the loss falls fast, its mean over 100 steps is not that over 10."""

  def log(name, seed, every):
    losses = 5 + 3 * np.exp(-np.arange(1, 1001) / 60)
    losses += np.random.default_rng(seed).normal(scale=0.02, size=1000)
    means = losses.reshape(-1, every).mean(axis=1)
    return write(
      tmp_path / name,
      seed,
      lambda step, _: {'train/mlm_loss': means[step // every - 1]},
      range(every, 1001, every),
    )

  references.make(
    runs=[log(f'{seed}', seed, 100) for seed in range(3)],
    output=str(tmp_path / 'steep.json'),
  )
  often = log('often', 10, 10)
  assert off(often, str(tmp_path / 'steep.json')) == {}
  with open(often + '/metrics.jsonl') as file:
    first = json.loads(next(file))['train/mlm_loss']
  run, reference = (
    run_reader.read(often),
    references.read(f'{tmp_path}/steep.json'),
  )
  assert first > health_checks.limits(run, reference, 'train/mlm_loss', 100)[1]


BROKEN = {
  'finite': lambda s, v: v | ({'eval/mlm_loss': math.nan} if s == 1000 else {}),
  'learning rate': changed(
    'train/learning_rate', lambda s, v: 10 * v['train/learning_rate']
  ),
  'masking': changed('train/visible_fraction', lambda s, v: 0.2),
  'stuck loss': changed('train/mlm_loss', lambda s, v: math.log(4096)),
  'next sentence': changed('train/nsp_accuracy', lambda s, v: 0.5),
  'leak': changed('train/mlm_loss', lambda s, v: 1.0),
  'training': changed('train/mlm_accuracy', lambda s, v: 0.0),
  'held out': changed('eval/mlm_loss', lambda s, v: 9.0),
  'gradient norm': changed('train/grad_norm', lambda s, v: 40.0),
  'repeated data': lambda s, v: (
    v | {'train/mlm_loss': v['train/mlm_loss'] - 0.8}
  ),
  'data stall': changed('speed/data_wait_fraction', lambda s, v: 0.5),
}


@pytest.mark.parametrize('check', BROKEN)
def test_what_is_broken_is_named(tmp_path, reference, check):
  found = off(write(tmp_path / 'run', 10, BROKEN[check]), reference)
  # A wrong loss is seen by those that look at losses, anything else by one.
  also = {
    'stuck loss': {'training'},
    'leak': {'repeated data'},
    'held out': {'repeated data'},
  }
  assert set(found) == {check} | also.get(check, set())


@pytest.mark.parametrize(
  'check, metric, factor',
  [
    ('masking', 'train/masked_fraction', 0.7),
    ('learning rate', 'train/learning_rate', 0.1),
    ('gradient norm', 'train/grad_norm', 0.02),
  ],
)
def test_too_little_is_named_as_too_much_is(
  tmp_path, reference, check, metric, factor
):
  change = changed(metric, lambda step, values: factor * values[metric])
  assert set(off(write(tmp_path / 'run', 10, change), reference)) == {check}


@pytest.mark.parametrize(
  'metric, value',
  [
    ('train/loss', 3.0),
    ('train/mlm_loss', 3.5),
    ('train/mlm_accuracy', 0.9),
    ('train/nsp_accuracy', 1.0),
    ('eval/mlm_loss', 3.0),
    ('speed/data_wait_fraction', 0.0),
  ],
)
def test_better_than_the_reference_is_no_fault(
  tmp_path, reference, metric, value
):
  found = off(
    write(tmp_path / 'run', 10, changed(metric, lambda s, v: value)), reference
  )
  # Only if the held-out loss did not fall with it.
  assert set(found) <= ({'repeated data'} if 'mlm_loss' in metric else set())


def test_every_check_is_tried(tmp_path):
  objective = model_file.read_objective(str(tmp_path))
  assert set(BROKEN) == set(health_checks.of(objective))


def test_the_loss_of_the_most_frequent_words_is_a_stuck_one(
  tmp_path, reference
):
  path = write(
    tmp_path / 'run',
    10,
    changed('train/mlm_loss', lambda s, v: max(v['train/mlm_loss'], 7.0)),
  )
  assert 'most frequent words' in off(path, reference)['stuck loss']


def test_the_status_is_1_and_the_difference_is_told(
  tmp_path, reference, capsys
):
  path = write(tmp_path / 'run', 10, BROKEN['learning rate'], LEARNING_RATE=0.3)
  with pytest.raises(RunStopped, match='not healthy') as caught:
    doctor.diagnose(
      run_dir=path, reference=reference, output=str(tmp_path / 'health.png')
    )
  assert caught.value.status == 1
  printed = capsys.readouterr().out
  assert 'OFF  learning rate' in printed and 'ok   masking' in printed
  assert 'LEARNING_RATE is absent there and 0.3 here' in printed
  assert (tmp_path / 'health.png').read_bytes().startswith(b'\x89PNG')


def test_only_the_doctors_own_picture_is_replaced(
  tmp_path, reference, full_disk
):
  picture = tmp_path / 'health.png'
  settings = {
    'run_dir': write(tmp_path / 'run', 10),
    'reference': reference,
    'output': str(picture),
  }
  with pytest.raises(UserError, match='ends in .png.*set OUTPUT'):
    doctor.diagnose(**settings | {'output': str(tmp_path / 'x.txt')})
  with (
    full_disk(),
    pytest.raises(UserError, match='health.png: File too large'),
  ):
    doctor.diagnose(**settings)
  assert os.listdir(tmp_path) == ['run']
  doctor.diagnose(**settings)
  doctor.diagnose(**settings)
  plotter.draw([Diagram('x', [Line('x', [1, 2], [3, 4])])], str(picture))
  mine = picture.read_bytes()
  with pytest.raises(UserError, match='health.png is there.*OVERWRITE=True'):
    doctor.diagnose(**settings)
  assert picture.read_bytes() == mine
  doctor.diagnose(**settings, overwrite=True)
  assert picture.read_bytes() != mine


def test_a_healthy_run_ends_well(tmp_path, reference, capsys):
  doctor.diagnose(run_dir=write(tmp_path / 'run', 10), reference=reference)
  assert 'OFF' not in capsys.readouterr().out


def test_a_run_that_has_hardly_begun_is_told_so(tmp_path, reference, capsys):
  path = write(tmp_path / 'run', 10, steps=range(10, 40, 10))
  doctor.diagnose(run_dir=path, reference=reference)
  assert 'reference begins at step 100; ask again' in capsys.readouterr().out


def test_a_run_of_something_else_is_refused(tmp_path, reference):
  path = write(tmp_path / 'run', 10, lambda step, values: {'train/x': 1.0})
  with pytest.raises(UserError, match='has no metric of healthy'):
    doctor.diagnose(run_dir=path, reference=reference)
