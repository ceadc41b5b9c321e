"""Curves of healthy runs: made, found, read."""

import json

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.reporting import references, run_reader
from bertjax.runs import model_file
from tests.reporting.test_run_reader import write_model, write_run

SIZE = {'TEXT_FILES': 'a.txt', 'LEARNING_RATE': 0.1}


def make(tmp_path, curves=((4.0, 2.0), (5.0, 1.0), (6.0, 3.0)), **bindings):
  paths = [
    write_run(tmp_path / f'r{i}', values, SEED=i, **SIZE | bindings)
    for i, values in enumerate(curves)
  ]
  references.make(runs=paths, output=str(tmp_path / 'mine.json'))
  return references.read(str(tmp_path / 'mine.json'))


def test_a_reference_is_replaced_only_on_demand(tmp_path):
  make(tmp_path)
  runs = [str(tmp_path / f'r{i}') for i in range(3)]
  settings = {'runs': runs, 'output': str(tmp_path / 'mine.json')}
  with pytest.raises(UserError, match='mine.json is there.*OVERWRITE=True'):
    references.make(**settings)
  references.make(**settings, overwrite=True)
  with pytest.raises(UserError, match='ends in .json.*set OUTPUT'):
    references.make(runs=runs, output=str(tmp_path / 'metrics.jsonl'))


def test_a_reference_holds_the_curves_of_its_runs(tmp_path):
  reference = make(tmp_path)
  assert reference.seeds == ['0', '1', '2']
  assert reference.name == 'mine'
  assert reference.bindings == {'TEXT_FILES': "'a.txt'", 'LEARNING_RATE': '0.1'}
  steps, values = reference.curves['train/loss']
  assert steps.tolist() == [10, 20]
  assert values.tolist() == [[4, 2], [5, 1], [6, 3]]
  # Between its lines, and no further than these.
  assert reference.values('train/loss', 15).tolist() == [3, 3, 4.5]
  assert np.isnan(reference.values('train/loss', [9, 21])).all()
  with pytest.raises(KeyError):
    reference.values('train/none', 10)
  # Step 20 is within a quarter of 17.
  assert reference.band('train/loss', 17) == (1.0, pytest.approx(3.9))
  assert reference.band('train/loss', 10) == (4.0, 6.0)


@pytest.mark.parametrize(
  'curves, message',
  [
    (((1.0, 2.0),) * 2, '3 runs or more'),
    (((1.0, 2.0), (1.0, 2.0), (1.0,)), 'same steps'),
    (((1.0, 2.0), (1.0, 2.0), (1.0, None)), 'not finite'),
  ],
)
def test_what_makes_no_reference(tmp_path, curves, message):
  with pytest.raises(UserError, match=message):
    make(tmp_path, curves)
  assert not (tmp_path / 'mine.json').exists()


def test_one_seed_three_times_is_no_reference(tmp_path):
  paths = [write_run(tmp_path / name, SEED=7, **SIZE) for name in 'abc']
  with pytest.raises(UserError, match='different seeds, .* got 7, 7, 7'):
    references.make(runs=paths, output=str(tmp_path / 'mine.json'))


def test_runs_that_differ_in_more_than_their_seed_are_refused(tmp_path):
  paths = [
    write_run(tmp_path / f'r{i}', SEED=i, LEARNING_RATE=0.1 + i // 2)
    for i in range(3)
  ]
  with pytest.raises(
    UserError, match=r'RATE is 0\.1 there and 1\.1 here; set RUNS'
  ):
    references.make(runs=paths, output=str(tmp_path / 'mine.json'))


def test_a_run_finds_the_reference_of_its_text_and_size(tmp_path, monkeypatch):
  make(tmp_path)
  monkeypatch.setattr(references, 'FOLDER', str(tmp_path))
  like = run_reader.read(
    write_run(tmp_path / 'x', TEXT_FILES='a.txt', LEARNING_RATE=9.0)
  )
  assert references.find(like).name == 'mine'
  other = run_reader.read(write_run(tmp_path / 'y', TEXT_FILES='b.txt'))
  with pytest.raises(UserError, match='no reference: .* not that of mine; set'):
    references.find(other)
  assert references.find(other, 'mine').name == 'mine'


def test_a_reference_of_another_objective_or_computation_is_refused(tmp_path):
  reference = make(tmp_path)
  path = write_run(tmp_path / 'x', **SIZE)
  mine = str(tmp_path / 'mine.json')

  def find():
    return references.find(run_reader.read(path), mine)

  assert find().objective == 'MaskedLanguageModel'
  assert find().computation == reference.computation != {}
  write_model(path, activation='relu', dropout=0.3)
  with pytest.raises(UserError, match="activation 'relu' and the reference mi"):
    find()
  facts = model_file.read_objective(path)
  write_model(path, facts._replace(name='Mine'))
  with pytest.raises(
    UserError, match="objective 'Mine' and the .*; set REFERE"
  ):
    find()
  # A field that came later had its default.
  content = json.loads((tmp_path / 'mine.json').read_text())
  del content['computation']['activation']
  (tmp_path / 'mine.json').write_text(json.dumps(content))
  write_model(path)
  assert find()
  write_model(path, activation='relu')
  with pytest.raises(UserError, match='activation'):
    find()


def test_files_that_are_no_reference(tmp_path):
  with pytest.raises(UserError, match='no reference x/y; set REFERENCE to one'):
    references.read('x/y')
  (tmp_path / 'a.json').write_text(json.dumps({'curves': 3}))
  with pytest.raises(UserError, match='a.json is no reference'):
    references.read(str(tmp_path / 'a.json'))
  whole = json.loads((references.FOLDER / 'quickstart.json').read_text())
  for name, wrong in (
    ('curves', {'a': {'steps': [1, 2], 'values': 'high'}}),
    ('curves', {'a': {'steps': [1, 2], 'values': [[0.5], [0.5]]}}),
    ('curves', {'a': {'steps': [1, 2], 'values': [0.5, 0.5]}}),
    ('curves', {'a': {'steps': [], 'values': []}}),
    ('curves', {'a': {'values': [[0.5]]}}),
    ('seeds', 3),
    ('bindings', ['a']),
  ):
    (tmp_path / 'a.json').write_text(json.dumps(whole | {name: wrong}))
    with pytest.raises(UserError, match='a.json is no reference'):
      references.read(str(tmp_path / 'a.json'))


@pytest.mark.parametrize('name', references.names())
def test_shipped_references_are_whole(name):
  reference = references.read(name)
  assert len(reference.seeds) >= 3 and len(set(reference.seeds)) >= 3
  for steps, values in reference.curves.values():
    assert values.shape == (len(reference.seeds), len(steps))
