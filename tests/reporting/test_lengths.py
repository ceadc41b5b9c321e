"""What the doctor says of runs longer, shorter or better than the reference.

The runs are made of the curves of the shipped references, along the learning
rates of the schedule that would have trained them.
"""

import dataclasses
import json

import numpy as np
import pytest

from bertjax.reporting import doctor, lengths, references, run_reader
from bertjax.training import schedules

REFERENCE = references.read('quickstart')


def rates(steps):
  """float[steps], the quickstart's learning rate in a run of so many steps."""
  return np.array(schedules.warmup_linear(2e-3, None, steps)(np.arange(steps)))


def write(
  directory,
  learning_rates,
  change=lambda metric, value: value,
  until=None,
  seed=0,
  reference=REFERENCE,
  **bindings,
):
  """Writes a run that has learnt at a step as much as its rates add up to."""
  directory.mkdir()
  end = int(reference.curves['train/learning_rate'][0][-1])
  learnt, usual = np.cumsum(learning_rates), np.cumsum(rates(end))
  with open(directory / 'metrics.jsonl', 'w') as file:
    for step in range(100, (until or len(learning_rates)) + 1, 100):
      place = np.interp(learnt[step - 1], usual, np.arange(1, end + 1))
      values = {
        metric: change(metric, float(np.interp(place, steps, curves[seed])))
        for metric, (steps, curves) in reference.curves.items()
        if place >= steps[0]
      }
      values['train/learning_rate'] = float(learning_rates[step - 1])
      file.write(json.dumps({'step': step} | values) + '\n')
  bindings = {'TRAIN_STEPS': len(learning_rates), **bindings}
  bindings = reference.bindings | {k: str(v) for k, v in bindings.items()}
  (directory / 'config.gin').write_text(
    ''.join(f'{name} = {value}\n' for name, value in bindings.items())
  )
  encoder = {'vocabulary_size': 4096, 'width': 128, 'layers': 2, 'heads': 16}
  (directory / 'model.json').write_text(
    json.dumps({'encoder': encoder | {'feed_forward': 512}})
  )
  return run_reader.read(str(directory))


def off(run):
  findings = doctor.examine(run, references.find(run))
  return {name for name, finding in findings.items() if not finding.ok}


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('steps', [300, 700, 1000, 1500, 4000, 20_000])
def test_a_healthy_run_of_another_length_passes(tmp_path, steps, seed):
  assert off(write(tmp_path / 'run', rates(steps), seed=seed)) == set()


@pytest.mark.parametrize('until', [100, 300, 1000, 1900])
def test_a_longer_run_passes_while_it_runs(tmp_path, until):
  assert off(write(tmp_path / 'run', rates(4000), until=until)) == set()


@pytest.mark.parametrize('until', [300, 1000])
@pytest.mark.parametrize('factor', [30, 0.01])
def test_the_rate_of_a_run_of_another_length_is_compared(
  tmp_path, factor, until
):
  for steps in (1000, 4000):
    run = write(tmp_path / f'{steps}', factor * rates(steps), until=until)
    assert 'learning rate' in off(run)


def test_a_schedule_that_is_not_stretched_with_the_run_is_named(tmp_path):
  assert off(write(tmp_path / 'run', rates(2000)[:1000])) == {'learning rate'}


def test_the_rate_of_a_prolonged_run_is_that_since_then(tmp_path):
  prolonged = rates(2000)
  prolonged[:1000] = rates(1000)
  # Such a run learns less than one that was meant to be as long; the slowest of
  # the reference, seed 0, is then 0.4% behind the limit of the training loss.
  assert off(write(tmp_path / 'a', prolonged, seed=1)) == set()
  prolonged[1000:] *= 2
  assert off(write(tmp_path / 'b', prolonged, seed=1)) == {'learning rate'}


def test_the_rate_of_a_shortened_run_is_that_since_then(tmp_path):
  for steps in (1200, 1500, 1900):
    shortened = rates(2000)[:steps]
    shortened[1000:] = rates(steps)[1000:]
    assert off(write(tmp_path / f'{steps}', shortened)) == set()
  shortened[1000:] *= 2
  assert 'learning rate' in off(write(tmp_path / 'wrong', shortened))


def scaled(loss, accuracy):
  def change(metric, value):
    if metric.endswith('loss'):
      return value * loss
    return value * accuracy if metric.endswith('accuracy') else value

  return change


@pytest.mark.parametrize('steps', [1000, 2000, 4000])
def test_better_is_no_fault_and_worse_is_one(tmp_path, steps):
  better = write(tmp_path / 'better', rates(steps), scaled(0.8, 1.4))
  assert off(better) == set()
  worse = write(tmp_path / 'worse', rates(steps), scaled(1.15, 0.6))
  assert {'training', 'held out'} <= off(worse)


@pytest.mark.parametrize('steps', [1000, 2000])
def test_a_run_that_sees_the_answers_is_not_healthy(tmp_path, steps):
  def twice(metric, value):
    """Text that stands twice in a row: nothing else is unusual."""
    if metric.endswith('accuracy'):
      return 0.98
    return value * 0.01 if metric.endswith('loss') else value

  def unmasked(metric, value):
    return 1.0 if metric == 'train/visible_fraction' else twice(metric, value)

  assert off(write(tmp_path / 'a', rates(steps), twice, 300)) == {'leak'}
  run = write(tmp_path / 'b', rates(steps), unmasked, 300)
  assert off(run) == {'leak', 'masking'}


@pytest.mark.parametrize(
  'steps, words',
  [
    (1000, ['has 1,000 steps, the reference 2,000', 'up to 1,000', 'sooner']),
    (4000, ['has 4,000 steps, the reference 2,000', 'up to 2,000', 'later']),
    (2000, []),
  ],
)
def test_how_runs_of_two_lengths_are_compared_is_said(tmp_path, steps, words):
  run = write(tmp_path / 'run', rates(steps))
  told = doctor.describe(run, REFERENCE, doctor.examine(run, REFERENCE))
  assert all(word in told for word in words)
  assert ('own schedule' in told) == bool(words)


@pytest.mark.parametrize(
  'schedule, warmup',
  [
    (schedules.warmup_linear, None),
    (schedules.warmup_linear, 150),
    (schedules.warmup_cosine, None),
    (schedules.warmup_cosine, 150),
    # Its decay is a tenth of the whole run, so it has no equal if only the
    # warmup is not stretched.
    (schedules.warmup_trapezoid, None),
  ],
)
@pytest.mark.parametrize('steps', [500, 2000, 6000])
def test_a_stretched_schedule_has_equal_rates(
  tmp_path, schedule, warmup, steps
):
  run = write(tmp_path / 'run', rates(steps), WARMUP_STEPS=warmup)
  reference = dataclasses.replace(
    REFERENCE, bindings=REFERENCE.bindings | {'WARMUP_STEPS': str(warmup)}
  )
  every = np.arange(1, steps + 1)
  places = lengths.in_schedule(run, reference, every)
  np.testing.assert_allclose(
    schedule(1.0, warmup, steps)(every - 1),
    schedule(1.0, warmup, 2000)(places - 1),
    # The ramp's first rate is 1 / (W + 1), of W steps.
    atol=0.02,
  )


def test_a_run_of_equal_length_may_not_lag(tmp_path):
  run, steps = write(tmp_path / 'run', rates(2000)), np.arange(1, 2001)
  np.testing.assert_array_equal(lengths.as_learnt(run, REFERENCE, steps), steps)


def test_the_steps_of_a_fine_tuning_go_with_its_epochs(tmp_path):
  """Twice the epochs of the reference's 113 steps."""
  reference = references.read('quickstart_finetune')
  longer = np.array(schedules.warmup_linear(1e-3, None, 226)(np.arange(226)))
  run = write(tmp_path / 'run', longer, reference=reference, EPOCHS=6)
  run.bindings.pop('TRAIN_STEPS')
  findings = doctor.examine(run, reference)
  assert findings['learning rate'].ok
  told = doctor.describe(run, reference, findings)
  assert 'has 226 steps, the reference 113' in told
