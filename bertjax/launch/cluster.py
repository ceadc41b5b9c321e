"""Which of how many processes this is: from the flags, or from the cluster.

    place = cluster.find('10.0.0.1:1234', count=2, index=0)
    place = cluster.find()  # TPU pods, Slurm, GKE, Open MPI; or alone

jax knows these clusters.
"""

import dataclasses
import importlib.util
import os
import re
import warnings

from bertjax.errors import UserError, expect

_FLAGS = '--coordinator_address, --process_count and --process_index'
_WAY_OUT = f'set {_FLAGS}, or --process_count=1 to run alone'


@dataclasses.dataclass(frozen=True)
class Place:
  """A process among several, or alone.

  Attributes:
    address: HOST:PORT of process 0.
    count: number of processes.
    index: which of them this is.
    local_devices: ids of those that jax may use here; None: all.
    seconds: how long to wait for the others.
  """

  address: str = ''
  count: int = 1
  index: int = 0
  local_devices: list[int] | None = None
  seconds: float = 300

  def __str__(self):
    return f'process {self.index} of {self.count}'


def find(
  address: str | None = None,
  count: int | None = None,
  index: int | None = None,
  seconds: float = 300,
) -> Place:
  """Returns the place of this process; UserError for what cannot be meant.

  Args:
    address: HOST:PORT of process 0. None, as the next two: as the cluster says.
    count: number of processes.
    index: which of them this is.
    seconds: how long to wait for the name of process 0, and for the others.
  """
  local_devices = None
  what = 'seconds above 0 and at most a million'
  expect(0 < seconds <= 10**6, what, seconds, '--join_seconds')
  if address is not None:
    host_and_port(address)
  if (address, count, index) == (None, None, None):
    address, count, index, local_devices = _detect(seconds)
  if count == 1 and index in (None, 0):
    return Place()  # also to run alone where a cluster has more
  if address is None or count is None or index is None:
    raise UserError(f'expected all of {_FLAGS}, or none of them')
  what = f'a process index of 0 to count - 1, for a count of {count}'
  setting = '--process_index and --process_count'
  expect(0 <= index < count, what, index, setting)
  return Place(address, count, index, local_devices, seconds)


def host_and_port(address: str) -> tuple[str, int]:
  """'10.0.0.1:1234' to ('10.0.0.1', 1234), '[::1]:1234' to ('::1', 1234)."""
  host, _, port = address.rpartition(':')
  valid = (
    re.fullmatch(r'[^\s/]+', host)
    and port.isdecimal()
    and 0 < int(port) < 65536
  )
  expect(valid, 'HOST:PORT of process 0', address, '--coordinator_address')
  return host.strip('[]'), int(port)


def _detect(seconds: float) -> tuple:
  """Returns address, count, index and local devices as the cluster says.

  They are what jax.distributed.initialize() would find; alone, the count is 1.
  Reads the environment, and on a TPU or in Kubernetes asks the machine's
  metadata.
  """
  # jax has no public name for it, and initialize() alone does not tell the
  # address, for the message, nor leave a single machine alone.
  from jax._src import clusters

  try:
    with warnings.catch_warnings(action='ignore'):  # of the case at the end
      found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, int(seconds)
      )
  except Exception as error:  # each kind of cluster has its own ones
    raise UserError(
      'jax finds a cluster but not who its processes are '
      f'({" ".join(str(error).split())}); {_WAY_OUT}'
    ) from error
  if found[0] is not None:
    return found
  is_pod = {'KUBERNETES_SERVICE_HOST', 'JOB_COMPLETION_INDEX'} <= {*os.environ}
  if is_pod and not importlib.util.find_spec('kubernetes'):
    # jax would let each pod run alone, into one folder.
    raise UserError(
      "this is a job of Kubernetes: pip install 'jax[k8s]' to find its pods, "
      f'or {_WAY_OUT}'
    )
  return None, 1, 0, None
