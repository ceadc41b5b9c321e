"""What CI compares of the plans, without compiling any."""

import importlib.util
import json
import pathlib

import pytest

from experiments.benchmarks import kept_plans
from tests.experiments.test_kept_plans import KEPT
from tests.test_gin_configs import TRAINING

ROOT = pathlib.Path(__file__).parent.parent / 'experiments' / 'benchmarks'


@pytest.fixture
def tpu_plan():
  spec = importlib.util.spec_from_file_location(
    'tpu_plan', ROOT / 'tpu_plan.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_every_recipe_that_pretrains_is_planned(tpu_plan):
  recipes = tpu_plan.pretraining_recipes()
  assert set(recipes) == set(TRAINING) - {'plan'}
  table = json.loads(tpu_plan.TABLE.read_text())
  in_ci = set(tpu_plan.IN_CI)
  assert {f'{recipe}_2_layers' for recipe in recipes} < in_ci
  assert in_ci <= table.keys() <= tpu_plan.CASES.keys()
  assert all(row['reason'] for row in table.values())


def figures(row):
  return {
    'estimated_mfu': row['estimated_mfu'],
    'hbm_bytes': row['hbm_bytes'],
    'flops_compiled': row['compiled_over_useful_flops'],
    'flops_useful': 1,
    'memory_bytes_per_device': row['memory_bytes_per_device'],
    'available_bytes': 10**9,
    'fits': row['memory_bytes_per_device'] < 10**9,
    'jax': row['jax'],
    'libtpu': row['libtpu'],
    'compiler_says': None,
    'why_not_compiled': None,
  }


@pytest.mark.parametrize(
  'change, failures',
  [
    ({}, []),
    ({'hbm_bytes': 1029}, []),
    ({'hbm_bytes': 1031}, ['base_128: hbm_bytes 1000 -> 1031 (+3.1%)']),
    ({'hbm_bytes': 1031, 'jax': '9'}, []),
    (
      {'memory_bytes_per_device': 2 * 10**9, 'jax': '9'},
      [
        'base_128: expected the plan of a step that compiles and fits, got '
        '2,000,000,000 bytes of 1,000,000,000'
      ],
    ),
  ],
)
def test_what_is_worse_fails_until_it_is_written_with_a_reason(
  tpu_plan, tmp_path, monkeypatch, change, failures
):
  tpu_plan.TABLE = tmp_path / 'table.json'
  row = kept_plans.renewed(None, KEPT, 'first')
  tpu_plan.TABLE.write_text(json.dumps({'base_128': row, 'gone': row}))
  monkeypatch.setattr(tpu_plan, 'plan', lambda _: figures(KEPT | change))
  assert tpu_plan.check(['base_128'], None) == failures
  tpu_plan.check(['base_128'], 'second')
  now = json.loads(tpu_plan.TABLE.read_text())
  if 'memory_bytes_per_device' in change:  # what does not fit is not kept
    assert now['base_128'] == row
    return
  assert now == {
    'base_128': KEPT | change | {'reason': 'second' if change else 'first'}
  }
  assert tpu_plan.check(['base_128'], None) == []


def test_a_case_without_a_row_fails(tpu_plan, tmp_path, monkeypatch):
  tpu_plan.TABLE = tmp_path / 'table.json'
  monkeypatch.setattr(tpu_plan, 'plan', lambda _: figures(KEPT))
  (failure,) = tpu_plan.check(['large_128'], None)
  assert 'no row' in failure and '--write' in failure
