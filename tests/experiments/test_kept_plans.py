import doctest

import pytest

from experiments.benchmarks import kept_plans

KEPT = kept_plans.row(
  {
    'estimated_mfu': 0.5,
    'hbm_bytes': 1000,
    'flops_compiled': 101,
    'flops_useful': 100,
    'memory_bytes_per_device': 2000,
    'fits': True,
    'jax': '0.10.2',
    'libtpu': '0.0.42.1',
    'days': 3,
  }
)


def test_its_example_holds():
  assert doctest.testmod(kept_plans) == (0, 2)


def test_a_row_keeps_what_is_compared_and_the_versions():
  assert KEPT == {
    'estimated_mfu': 0.5,
    'hbm_bytes': 1000,
    'compiled_over_useful_flops': 1.01,
    'memory_bytes_per_device': 2000,
    'jax': '0.10.2',
    'libtpu': '0.0.42.1',
  }


@pytest.mark.parametrize(
  'name, change',
  [
    ('estimated_mfu', 0.96),
    ('hbm_bytes', 1.04),
    ('compiled_over_useful_flops', 1.04),
    ('memory_bytes_per_device', 1.04),
  ],
)
def test_a_figure_that_is_more_than_3_percent_worse_is_told(name, change):
  (line,) = kept_plans.worse(KEPT, KEPT | {name: KEPT[name] * change})
  assert line.startswith(name) and '4.0%' in line
  better = KEPT | {name: KEPT[name] / change}
  assert kept_plans.worse(KEPT, better) == []
  near = KEPT | {name: KEPT[name] * (1 + (change - 1) / 2)}
  assert kept_plans.worse(KEPT, near) == []


def test_the_reason_is_that_of_the_last_change():
  row = kept_plans.renewed(None, KEPT, 'first')
  assert row == KEPT | {'reason': 'first'}
  assert kept_plans.renewed(row, KEPT, 'second') == row
  now = KEPT | {'hbm_bytes': 999}
  assert kept_plans.renewed(row, now, 'second') == now | {'reason': 'second'}
  assert kept_plans.worse(row, now) == []


@pytest.mark.parametrize('version', ['jax', 'libtpu'])
def test_at_other_versions_nothing_is_worse(version):
  now = KEPT | {version: '9', 'estimated_mfu': 0.1}
  assert kept_plans.worse(KEPT, now) == []
  assert not kept_plans.same_versions(KEPT, now)


def test_a_line_stands_under_its_header():
  line = kept_plans.line('base', KEPT)
  assert len(line.split('  0.10.2')[0]) == len(
    kept_plans.HEADER.split('  jax')[0]
  )


@pytest.mark.parametrize(
  'figures, message',
  [
    ({'estimated_mfu': None, 'compiler_says': 'Ran out'}, 'Ran out'),
    (
      {
        'estimated_mfu': None,
        'compiler_says': None,
        'why_not_compiled': 'no libtpu',
      },
      'no libtpu',
    ),
    (
      {
        'estimated_mfu': 0.5,
        'fits': False,
        'compiler_says': None,
        'why_not_compiled': None,
        'memory_bytes_per_device': 2000,
        'available_bytes': 1000,
      },
      '2,000 bytes of 1,000',
    ),
  ],
)
def test_a_plan_that_did_not_compile_or_fit_is_refused_with_the_reason(
  figures, message
):
  with pytest.raises(ValueError, match=message):
    kept_plans.row(figures)
