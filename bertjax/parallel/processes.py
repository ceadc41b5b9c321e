"""Several processes as one run: who they are, and what they do together.

    with processes.joined('10.0.0.1:1234', count=2, index=0):
      processes.connect()                       # before jax is used
      if processes.is_first():
        write_a_file()
      everyones = processes.gather(my_value)    # [of process 0, of 1, ...]
      with processes.first_before_others():
        prepare_what_others_then_find()

Without `joined`, or with one process, all of this costs nothing. Source: ours,
on jax.distributed.
"""

import contextlib
import functools
import importlib.util
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.errors import RunStopped, UserError
from bertjax.parallel import rendezvous

_FLAGS = '--coordinator_address, --process_count and --process_index'


@contextlib.contextmanager
def joined(
  address: str | None = None,
  count: int | None = None,
  index: int | None = None,
  seconds: float = 300,
) -> Iterator[None]:
  """Waits for all processes of the run, and ends with them.

  Where one of them raises or dies, the others end as well, within seconds, each
  with one line that says which it was. What processes but the first print on
  standard output is dropped.

  Args:
    address: HOST:PORT of process 0. None, as the next two: as the cluster says
      (TPU pods, Slurm, GKE, Open MPI); one process where there is none.
    count: number of processes.
    index: which of them this is.
    seconds: how long to wait for the others.

  Raises:
    UserError: flags that cannot be meant, or a process that does not come.
  """
  local_devices = None
  if (address, count, index) == (None, None, None):
    address, count, index, local_devices = _detect(seconds)
  _check(address, count, index)
  if (count or 1) == 1:
    yield
    return
  meeting = rendezvous.meet(address, count, index, seconds)
  # What it prints then is to be seen also while standard error is redirected.
  meeting.watch(functools.partial(_end_now, os.dup(2)))
  if index:
    print(
      f'process {index} of {count}: process 0 tells how the run goes',
      flush=True,
    )
    sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
  _pending.append((address, count, index, local_devices, seconds))
  try:
    yield
    meeting.leave()
  except BaseException as error:
    if isinstance(error, Exception) and not isinstance(
      error, UserError | RunStopped
    ):
      meeting.await_end(5)
    line = next(iter(str(error).splitlines()), '')
    if not isinstance(error, UserError | RunStopped):
      line = f'{type(error).__name__} {line}'.rstrip()
    meeting.fail(line, getattr(error, 'status', 1))
    raise


# What `connect` is still to do: arguments of jax.distributed.initialize.
_pending: list[tuple] = []


def connect() -> None:
  """Connects jax to the processes that have been met; before jax is used."""
  while _pending:
    address, count, index, local_devices, seconds = _pending.pop()
    # It takes SIGTERM for itself, and the loop has its own way, see `Vote`.
    jax.config.update('jax_enable_preemption_service', False)
    jax.distributed.initialize(
      _forward(address) if index else address,
      count,
      index,
      local_devices,
      cluster_detection_method='deactivate',
      initialization_timeout=int(max(1, seconds)),
    )


def _detect(seconds: float) -> tuple:
  """Returns what jax.distributed.initialize() would find by itself.

  Reads the environment, and on a TPU or in Kubernetes asks the machine's
  metadata.
  """
  # jax has no public name for it, and initialize() alone does not tell the
  # address, for the message, nor leave a single machine alone.
  from jax._src import clusters

  try:
    found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
      None, None, None, None, None, int(seconds)
    )
  except Exception as error:  # each kind of cluster has its own ones
    raise UserError(
      'jax finds a cluster but not who its processes are '
      f'({" ".join(str(error).split())}); set {_FLAGS}, or --process_count=1 '
      'to run alone'
    ) from error
  if (
    found[0] is None
    and not importlib.util.find_spec('kubernetes')
    and (
      {'KUBERNETES_SERVICE_HOST', 'JOB_COMPLETION_INDEX'} <= os.environ.keys()
    )
  ):
    # jax would let each pod run alone, into one folder.
    raise UserError(
      "this is a job of Kubernetes: pip install 'jax[k8s]' to find its pods, "
      f'or set {_FLAGS}, or --process_count=1 to run alone'
    )
  return found


def _check(address, count, index) -> None:
  if count == 1 and index in (None, 0):
    return  # also to run alone where a cluster has more
  if None in (address, count, index):
    if (address, count, index) != (None, None, None):
      raise UserError(f'expected all of {_FLAGS}, or none of them')
    return
  rendezvous.split_address(address)
  if count < 1 or not 0 <= index < count:
    raise UserError(
      f'expected a process index of 0 to count - 1, got {index} of {count}; '
      'set --process_index and --process_count'
    )


def _end_now(screen: int, line: str, status: int) -> None:
  """Ends this process with a line, wherever its main thread is."""
  os.write(screen, f'bertjax: {line}\n'.encode())
  os._exit(status)


def _forward(address: str) -> str:
  """Returns a local address from which bytes go to another one, and back.

  The end of the far side is not passed on: a client of jax's coordinator ends
  its process, without a word that helps, as soon as it sees that.
  """
  place = rendezvous.split_address(address)
  listener = socket.create_server(('localhost', 0))

  def pump(source, sink, is_far):
    with contextlib.suppress(OSError):
      while data := source.recv(1 << 16):
        sink.sendall(data)
    if not is_far:
      with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

  def accept():
    while True:
      near, _ = listener.accept()
      try:
        far = socket.create_connection(place)
      except OSError:  # not there yet: the client tries again
        near.close()
        continue
      for source, sink, is_far in ((near, far, False), (far, near, True)):
        threading.Thread(
          target=pump, args=(source, sink, is_far), daemon=True
        ).start()

  threading.Thread(target=accept, daemon=True).start()
  return f'localhost:{listener.getsockname()[1]}'


# ------------------------------------------------- what processes do together


def count() -> int:
  """Returns how many processes run together."""
  return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
  """Whether this is the process that writes files."""
  return count() == 1 or jax.process_index() == 0


def gather(value: Any) -> list[Any]:
  """Returns the values of all processes, in order; all must call it.

  They go through JSON, also with one process: tuples come back as lists, and
  nothing that another process sends can be more than data.

  Args:
    value: numbers, texts, None, lists and dicts of texts to these, of any size.
  """
  text = json.dumps(value)
  if count() == 1:
    return [json.loads(text)]
  content = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.asarray(content.size))
  padded = np.pad(content, (0, sizes.max() - content.size))
  rows = multihost_utils.process_allgather(padded)
  return [
    json.loads(row[:size].tobytes())
    for row, size in zip(rows, sizes, strict=True)
  ]


def from_first(make: Callable[[], Any]) -> Any:
  """Returns what the first process makes, to all; all must call it."""
  return gather(make() if is_first() else None)[0]


def wait(name: str) -> None:
  """Waits until all processes are here."""
  if count() > 1:
    multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def first_before_others(name: str) -> Iterator[None]:
  """The first process goes through the block alone, then all others do."""
  if not is_first():
    wait(name)
  yield
  if is_first():
    wait(name)


class Vote:
  """Finds the largest of a number on all processes without waiting for them.

      vote = Vote()
      largest = vote.cast(number)   # of the calls before this one

  Each call starts a small collective, as asynchronous as a training step, and
  returns what the last call's found: the same on all processes, that call at
  most one step before.
  """

  _last = None

  @functools.cached_property
  def _largest(self):
    return jax.jit(
      jnp.max, out_shardings=NamedSharding(self._mesh, PartitionSpec())
    )

  @functools.cached_property
  def _mesh(self):
    return Mesh(np.array(jax.devices()), ('devices',))

  def cast(self, number: int) -> int:
    """Takes part; all processes must do so equally often.

    Args:
      number: int32, 0 or more.
    """
    if count() == 1:
      return number
    last = 0 if self._last is None else int(self._last)
    self._last = self._largest(
      jax.make_array_from_callback(
        (self._mesh.size,),
        NamedSharding(self._mesh, PartitionSpec('devices')),
        lambda _: np.array([number], np.int32),
      )
    )
    return last
