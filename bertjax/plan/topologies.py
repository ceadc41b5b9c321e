"""TPU slices to compile for on a machine without a TPU.

    >>> parse('H100:8'), parse('v5e:2x4')
    (('H100', 8), ('v5e', 8))

`devices('v5e:2x4')` returns devices for a mesh. It needs the wheel `libtpu`,
which holds XLA's TPU compiler and runs on any x86 Linux; nothing else here
loads it. Source: `jax.experimental.topologies`; MaxText's `train_compile.py`
for the settings.
"""

import importlib.util
import math
import os
import re
from typing import Any

import jax
from jax.experimental import topologies

from bertjax.errors import UserError
from bertjax.parallel import devices as devices_lib

_FLAT = '1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16'.split()
_CUBES = '2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8'.split()

# Generation -> slices that compile; source: https://cloud.google.com/tpu/docs.
KNOWN = {
  'v2': ['2x2', '4x4', '8x8'],
  'v3': ['2x2', '4x4', '8x8', '16x16'],
  'v4': _CUBES,
  'v5e': _FLAT,
  'v5p': _CUBES,
  'v6e': _FLAT,
  'tpu7x': ['1x1x1', *_CUBES],
}

# Generations whose chips are two devices each.
TWO_DEVICES = ('v2', 'v3', 'tpu7x')


def parse(topology: str) -> tuple[str, int]:
  """Returns the name of a device and the number of chips (TPU) or devices.

  Args:
    topology: a TPU slice such as 'v5e:2x4', a GPU such as 'H100' or 'H100:8',
      or 'cpu'.

  Raises:
    UserError: unknown; lists the known ones.
  """
  name, _, size = topology.partition(':')
  if name in KNOWN and size in KNOWN[name]:
    return name, math.prod(map(int, size.split('x')))
  known = name == 'cpu' or devices_lib.named(name) is not None
  if name not in KNOWN and known and re.fullmatch(r'[1-9]\d{,5}', size or '1'):
    return name, int(size or 1)
  slices = '; '.join(f'{k}: {" ".join(v)}' for k, v in KNOWN.items())
  others = ' '.join(d.name for d in devices_lib.DEVICES if d.name not in KNOWN)
  raise UserError(
    f'unknown topology {topology!r}; set TOPOLOGY to a TPU slice such as '
    f"'v5e:2x4' ({slices}), or to one of {others} cpu, with ':8' for 8"
  )


def has_compiler() -> bool:
  """Whether libtpu is installed."""
  return importlib.util.find_spec('libtpu') is not None


def devices(topology: str) -> list[jax.Device]:
  """Returns devices that programs can be compiled for but not run on.

  Args:
    topology: of TPUs, see `parse`. A device is a chip, or half a chip of v2, v3
      and tpu7x.

  Raises:
    UserError: libtpu is missing or refuses.
  """
  name, chips = parse(topology)
  if not has_compiler():
    raise UserError(
      'libtpu, which compiles for TPUs, is not installed; pip install -r '
      'requirements-tpu.txt, or set TOPOLOGY to a GPU or cpu'
    )
  # Otherwise libtpu asks a cloud's metadata server where it runs, refuses a
  # second process, and prints warnings while it guesses the type.
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
  os.environ.setdefault('TPU_ACCELERATOR_TYPE', 'v5litepod-8')
  os.environ.setdefault('TPU_WORKER_HOSTNAMES', 'localhost')
  os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')
  options: dict[str, Any] = {}
  if name == 'v4':  # both cores of a chip are one device, as jax runs them
    options['chip_config_name'] = 'megacore'
  if chips == 1:  # libtpu's default is 4 chips per host
    options['chips_per_host_bounds'] = (1, 1, 1)
  try:
    return topologies.get_topology_desc(topology, 'tpu', **options).devices
  except jax.errors.JaxRuntimeError as error:
    raise UserError(
      f'libtpu cannot compile for {topology}: '
      f'{" ".join(str(error).split())}; set TOPOLOGY to another'
    ) from error
