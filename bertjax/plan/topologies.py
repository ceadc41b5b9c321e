"""TPU slices to compile for, on a machine without a TPU.

    devices = topologies.devices('v5e:2x4')     # of a mesh; needs libtpu
    topologies.parse('H100:8')                  # ('H100', 8), no libtpu

The wheel `libtpu` holds XLA's TPU compiler, which runs on any x86 Linux. It is
loaded when a topology is asked for, not before. Source:
`jax.experimental.topologies`; MaxText's `train_compile.py` for the settings.
"""

import importlib.util
import os
import re

import jax
from jax.experimental import topologies

from bertjax.errors import UserError
from bertjax.parallel import devices as devices_lib

_FLAT = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_CUBES = (
  '2x2x1',
  '2x2x2',
  '2x2x4',
  '2x4x4',
  '4x4x4',
  '4x4x8',
  '4x8x8',
  '8x8x8',
)

# Generation -> slices of it; https://cloud.google.com/tpu/docs, each compiled.
KNOWN = {
  'v2': ('2x2', '4x4', '8x8'),
  'v3': ('2x2', '4x4', '8x8', '16x16'),
  'v4': _CUBES,
  'v5e': _FLAT,
  'v5p': _CUBES,
  'v6e': _FLAT,
  'tpu7x': ('1x1x1', *_CUBES),
}

# Chips of which jax lists each half.
TWO_DEVICES = ('v2', 'v3', 'tpu7x')


def is_tpu(topology: str) -> bool:
  """Whether a name is that of TPUs; any other is of GPUs or 'cpu'."""
  return re.match(r'v\d|tpu', topology) is not None


def parse(topology: str) -> tuple[str, int]:
  """Returns the name of a device and how many chips or devices there are.

  Args:
    topology: 'v5e:2x4', or 'H100', 'H100:8' and the like, or 'cpu'.

  Raises:
    UserError: none of these; lists those that are known.
  """
  name, _, size = topology.partition(':')
  if name in KNOWN and size in KNOWN[name]:
    return name, _product(size)
  known = name == 'cpu' or devices_lib.named(name) is not None
  if not is_tpu(topology) and known and re.fullmatch(r'[1-9]\d*', size or '1'):
    return name, int(size or 1)
  slices = '; '.join(f'{k}: {" ".join(v)}' for k, v in KNOWN.items())
  others = ' '.join(d.name for d in devices_lib.DEVICES if not is_tpu(d.name))
  raise UserError(
    f'unknown topology {topology!r}; set TOPOLOGY to a TPU slice such as '
    f"'v5e:2x4' ({slices}), or to one of {others} cpu, with ':8' for 8"
  )


def has_compiler() -> bool:
  """Whether libtpu is installed."""
  return importlib.util.find_spec('libtpu') is not None


def devices(topology: str) -> list[jax.Device]:
  """Returns devices that programs can be compiled for, but not run on.

  Args:
    topology: of TPUs, see `parse`. A device is a chip, of v2, v3 and tpu7x half
      of one.

  Raises:
    UserError: libtpu is missing or refuses.
  """
  name, chips = parse(topology)
  if not has_compiler():
    raise UserError(
      'libtpu is not installed, which compiles for TPUs; pip install -r '
      'requirements-tpu.txt, or set TOPOLOGY to a GPU or cpu'
    )
  # Else libtpu asks the metadata server of a cloud machine where it is, and
  # refuses a second process. An explicit type keeps it from guessing aloud.
  for key, value in (
    ('TPU_SKIP_MDS_QUERY', '1'),
    ('TPU_ACCELERATOR_TYPE', 'v5litepod-8'),
    ('TPU_WORKER_HOSTNAMES', 'localhost'),
    ('ALLOW_MULTIPLE_LIBTPU_LOAD', '1'),
  ):
    os.environ.setdefault(key, value)
  options = {}
  if name == 'v4':  # both cores of a chip as one device, as jax runs them
    options['chip_config_name'] = 'megacore'
  if chips == 1:  # else a host has 4
    options['chips_per_host_bounds'] = (1, 1, 1)
  try:
    return list(
      topologies.get_topology_desc(
        platform='tpu', topology_name=topology, **options
      ).devices
    )
  except jax.errors.JaxRuntimeError as error:
    raise UserError(
      f'libtpu cannot compile for {topology}: '
      f'{" ".join(str(error).split())}; set TOPOLOGY to another'
    ) from error


def _product(size: str) -> int:
  count = 1
  for part in size.split('x'):
    count *= int(part)
  return count
