from bertjax.plan import table

FIGURES = {
  'topology': 'v5e:2x4',
  'device': 'v5e',
  'devices': 8,
  'mesh': {'data': 4, 'fsdp': 2, 'tensor': 1},
  'batch_size': 64,
  'length': 128,
  'dtype': 'bfloat16',
  'dropout': 0.1,
  'jax': '0.10.2',
  'libtpu': '0.0.42.1',
  'compiled': True,
  'why_not_compiled': None,
  'parameters': 1234567,
  'flops_useful': 1e12,
  'flops_compiled': 1.01e12,
  'hbm_bytes': 3 * 2**30,
  'collective_bytes': {'all-reduce': 2**30},
  'collectives': {'all-reduce': 2},
  'memory_bytes_per_device': 2**34,
  'available_bytes': 15 * 2**30,
  'fits': False,
  'memory_parts': {'parameters': 2**30, 'gradients_and_activations': 2**31},
  'largest_batch_per_device': 7,
  'largest_batch_from': 'a line',
  'estimated_seconds': 0.01,
  'estimated_mfu': 0.5,
  'steps': 10**6,
  'estimate_leaves_out': ['collectives'],
  'days': 1.5,
  'device_hours': 288.0,
  'stated_efficiency': 0.4,
  'days_at_stated_efficiency': 2.0,
  'device_hours_at_stated_efficiency': 384.0,
  'compiler_says': 'Ran out.\nx',
}


def test_every_figure_stands_in_the_table_with_its_unit():
  text = table.text(FIGURES)
  for part in (
    '1,234,567',
    '1.000 T',
    '1.010 T, 1.010 of',
    '3.00 GiB',
    'all-reduce 1.000 GiB in 2',
    '16.00 GiB of 15.00',
    '10.00 ms',
    '50.0%',
    '1.50 days, 288',
    '40%',
    '2.00 days, 384',
    'leaves out collectives',
  ):
    assert part in text, part


def test_what_does_not_fit_has_its_parts_and_a_remedy():
  text = table.text(FIGURES)
  assert 'DOES NOT FIT' in text
  assert '    parameters                 1.00 GiB' in text
  assert '    gradients and activations  2.00 GiB' in text
  assert 'BATCH_SIZE to 56 or less' in text  # 7 rows on 4 x 2 devices
  assert 'Ran out.' in text


def test_what_is_not_known_has_no_row():
  unknown = dict.fromkeys(
    (
      'flops_compiled',
      'memory_bytes_per_device',
      'largest_batch_per_device',
      'estimated_seconds',
      'days',
      'days_at_stated_efficiency',
      'libtpu',
      'estimate_leaves_out',
      'compiler_says',
    )
  )
  text = table.text(
    FIGURES
    | unknown
    | {'compiled': False, 'fits': None, 'why_not_compiled': 'no libtpu'}
  )
  assert 'None' not in text and 'nothing is compiled: no libtpu.' in text
