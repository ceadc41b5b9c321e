import pathlib
import re
from importlib import metadata

import pytest

from bertjax.errors import UserError
from bertjax.parallel import devices
from bertjax.plan import topologies


@pytest.mark.parametrize(
  'topology, parsed',
  [
    ('v5e:2x4', ('v5e', 8)),
    ('v5p:2x2x2', ('v5p', 8)),
    ('v5e:16x16', ('v5e', 256)),
    ('v6e:1x1', ('v6e', 1)),
    ('H100', ('H100', 1)),
    ('A100-80:8', ('A100-80', 8)),
    ('cpu', ('cpu', 1)),
  ],
)
def test_a_name_says_which_devices_and_how_many(topology, parsed):
  assert topologies.parse(topology) == parsed


@pytest.mark.parametrize(
  'topology',
  [
    'v5e:3x4',
    'v5e',
    'v5e:8',
    'v9:2x2',
    'v5p:2x4',
    'K80',
    'H100:0',
    'H100:x',
    'H100:100000000',
    '',
    'tpu',
    'TPU v4',
  ],
)
def test_an_unknown_topology_lists_those_that_are_known(topology):
  with pytest.raises(UserError, match='TOPOLOGY') as error:
    topologies.parse(topology)
  assert repr(topology) in str(error.value)
  for known in ('v5e: 1x1 2x2 2x4', 'v5p: 2x2x1', 'tpu7x', 'H200'):
    assert known in str(error.value)


def test_every_generation_is_in_the_table_of_devices():
  assert all(devices.named(name) for name in topologies.KNOWN)


def test_without_libtpu_it_says_what_to_install(monkeypatch):
  monkeypatch.setattr(topologies, 'has_compiler', lambda: False)
  with pytest.raises(UserError, match='requirements-tpu.txt'):
    topologies.devices('v5e:2x4')


@pytest.mark.skipif(
  not topologies.has_compiler(),
  reason='libtpu is not installed (requirements-tpu.txt)',
)
@pytest.mark.parametrize('name', topologies.KNOWN)
def test_every_slice_has_devices_of_its_generation(name):
  for size in topologies.KNOWN[name]:
    found = topologies.devices(f'{name}:{size}')
    assert devices.find(found[0].device_kind).name == name
    a_chip = 2 if name in ('v2', 'v3', 'tpu7x') else 1
    assert len(found) == a_chip * topologies.parse(f'{name}:{size}')[1]


def test_the_requirements_pin_the_libtpu_of_each_jax():
  """jax's own extra does, so that no other can be installed beside it."""
  text = (
    pathlib.Path(topologies.__file__).parents[2] / 'requirements-tpu.txt'
  ).read_text()
  assert 'jax[tpu]' in text
  (pin,) = (r for r in metadata.requires('jax') if r.startswith('libtpu'))
  assert re.match(r'libtpu==[\d.]+\*; extra == "tpu"', pin)
  known = {'0.10': '0.0.42.*', '0.12': '0.0.50.*'}
  version = '.'.join(metadata.version('jax').split('.')[:2])
  if version in known:
    assert known[version] in pin and known[version] in text
