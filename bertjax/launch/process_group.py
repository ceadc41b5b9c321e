"""Several processes become one run: they meet, do the job and end together.

    process_group.run(job, cluster.find('10.0.0.1:1234', count=2, index=0))

jax's coordinator, in process 0, brings them together and notices when one is
gone. The others then end inside jax's C++, which prints what it knows and calls
abort(): Python gets no chance to speak. So the job runs in a child process, and
the parent, forked off before jax starts a backend, only passes signals on and
says the last line. With one process there is no child, and all of this costs
nothing.
"""

import contextlib
import ctypes
import errno
import io
import json
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import jax

from bertjax.errors import RunStopped, UserError
from bertjax.launch import cluster, interruption
from bertjax.parallel import processes

_AGAIN = 'the same command on all machines goes on from the last checkpoint'
# Seconds.
_HEARTBEAT = 30  # of silence, after which a process counts as dead
_PATIENCE = 5  # of a process that fails, for others that fail alike
_FIRST_CONTACT = 60  # for jax to find all devices, once all have come
_SHUTDOWN = 3600  # process 0 may write for long after the others are done
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
# In what jax raises when another process is gone; the types differ.
_LOST = re.compile(
  r'gloo|nccl|coordination ?service|heartbeat|_complete barrier', re.IGNORECASE
)


def run(job: Callable[[], None], place: cluster.Place) -> None:
  """Calls `job` as one of several processes; returns when all are done.

  When one of them dies or hangs, the others end within a minute. Only process 0
  is heard on standard output.

  Args:
    job: called in a child process if there are several.
    place: of this process.

  Raises:
    UserError: flags that cannot be meant.
    RunStopped: with several processes, whatever else ended the job.
  """
  if place.count == 1:
    return job()
  sys.stdout.flush()
  sys.stderr.flush()
  # Lines of [status, last words]. The last one holds, however the child ends.
  with tempfile.TemporaryFile(buffering=0) as will:
    _bequeath(
      will,
      f'{place} did not meet the others at {place.address} (--join_seconds='
      f'{place.seconds:g}); start the same command once for each '
      f'--process_index from 0 to {place.count - 1}, all with '
      f'--process_count={place.count}',
    )
    child = os.fork()
    if not child:
      _live(place, job, will)
    killer = _wait_for(child)
    will.seek(0)
    status, words = json.loads(will.read().splitlines()[-1])
  if killer not in (None, signal.SIGABRT, signal.SIGALRM):  # jax's, and ours
    status = 128 + killer
    words = f'{place} was ended by {killer.name}; {_AGAIN}'
  if status:
    raise RunStopped(words, status)


# ------------------------------------------------------ the child, its parent


def _live(place: cluster.Place, job, will: io.FileIO) -> NoReturn:
  """Meets the others and does the job, in the child."""
  os.setsid()  # Ctrl-C reaches the parent alone, which passes it on
  interruption.leave_to_parent()
  if sys.platform == 'linux':  # and if the parent is killed, so is the child
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  try:
    _meet(place)
    _bequeath(
      will,
      f'{place} lost another one, which has ended or is out of reach (its own '
      f'last line says more); {_AGAIN}',
    )
    job()
    jax.distributed.shutdown()
    _bequeath(will, '', 0)
  except KeyboardInterrupt:
    _bequeath(will, 'interrupted', 130)
  except BaseException as error:
    # Also one of ours, such as of a checkpoint that waits for another process.
    if _LOST.search(str(error)):
      print(f'jax: {error}', file=sys.stderr)  # the will says the rest
    else:
      if isinstance(error, UserError | RunStopped):
        _bequeath(will, str(error), error.status)
      else:
        traceback.print_exc()
        _bequeath(will, f'{place} ended with the error above; {_AGAIN}')
      # Others that find the same mistake say so first: the end of process 0
      # ends them all. Returns at once when all are here.
      leave = threading.Thread(target=jax.distributed.shutdown, daemon=True)
      leave.start()
      leave.join(_PATIENCE)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(0)


def _bequeath(will: io.FileIO, words: str, status: int = 1) -> None:
  will.write(json.dumps([status, words]).encode() + b'\n')


def _wait_for(child: int) -> signal.Signals | None:
  """Returns the signal that ended the child; passes on what comes meanwhile."""
  before = {
    number: signal.signal(number, lambda number, _: os.kill(child, number))
    for number in (signal.SIGTERM, signal.SIGINT)
  }
  _, how = os.waitpid(child, 0)
  for number, handler in before.items():
    signal.signal(number, handler)
  return signal.Signals(os.WTERMSIG(how)) if os.WIFSIGNALED(how) else None


def _meet(place: cluster.Place) -> None:
  """Returns when all processes have come and can reach each other."""
  bind_address = None
  if place.index:
    print(f'{place}: process 0 tells how the run goes', flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
  else:
    bind_address = _bind_address(place.address)
  # Ends the process inside jax, too, which may wait for ever.
  signal.alarm(int(place.seconds) + _FIRST_CONTACT)
  # It takes SIGTERM for itself, and the loop has its own way, see `Vote`.
  jax.config.update('jax_enable_preemption_service', False)
  with _quiet():
    jax.distributed.initialize(
      place.address,
      place.count,
      place.index,
      place.local_devices,
      cluster_detection_method='deactivate',
      coordinator_bind_address=bind_address,
      initialization_timeout=max(1, int(place.seconds)),
      heartbeat_timeout_seconds=_HEARTBEAT,
      shutdown_timeout_seconds=_SHUTDOWN,
    )
  if jax.process_count() != place.count:
    raise UserError(
      f'expected one --process_count on all processes, got {place.count} here '
      f'({place}) and {jax.process_count()} on process 0; set one number'
    )
  processes.wait('joined')
  signal.alarm(0)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Hides the stack that C++ prints if nobody comes: the will says enough."""
  kept = os.dup(2)
  os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
  try:
    yield
  finally:
    os.dup2(kept, 2)


def _bind_address(address: str) -> str | None:
  """Returns where process 0 listens: at the address itself, if it can."""
  if 'JAX_COORDINATOR_BIND_ADDRESS' in os.environ:
    return None  # jax reads it
  host, port = cluster.host_and_port(address)
  everywhere = f'[::]:{port}'
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  try:
    # Asked here: jax would share the port with whoever listens there already.
    with socket.create_server((host, port), family=family) as server:
      number = server.getsockname()[0]
  except OSError as error:
    if error.errno not in (errno.EADDRINUSE, errno.EACCES):
      return everywhere  # the address of a gateway that leads here
    raise UserError(
      f'process 0 cannot listen at {address} ({os.strerror(error.errno)}); set '
      '--coordinator_address to another port, on all processes'
    ) from error
  # To itself a machine is often 127.0.1.1, while others know it by another.
  is_inward = number.startswith('127.') and host not in ('localhost', number)
  return everywhere if is_inward else address
