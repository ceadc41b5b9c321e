"""The run's directory: one run at a time, one configuration for its lifetime.

    with run_directory.claim('runs/x', gin.config_str()):
      train()

A run holds an advisory lock (flock) on `.lock` in its directory, which names
its host and process id. The kernel drops the lock with the process, however
that dies, so a dead run is no obstacle; shared file systems such as NFS pass
the lock on to other hosts. A file system without locks gets `.lock.held`, which
is taken from a dead process of this host, and must be deleted by hand after one
of another. `config.gin` holds the configuration, and a later
run must have the same one, except for bindings that cannot change what is
learnt (`gin_bindings.IGNORED`).
"""

import contextlib
import errno
import json
import os
import re
import socket
from collections.abc import Iterator

import filelock

from bertjax.errors import UserError
from bertjax.runs import gin_bindings, layout, output_files

OVERRIDE = '--gin.ALLOW_DIFFERENCE=True'
# Every training recipe of 0.1 imports this; modules have moved since.
_NAMES_OF_0_1 = re.compile(r'^from bertjax import partitioning$', re.MULTILINE)
# The errors of flock on a file system without locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def claim(
  directory: str, configuration: str, allow_difference: bool = False
) -> Iterator[None]:
  """Holds a run directory for one run with one configuration.

  Makes the directory, locks it, compares `configuration` with its `config.gin`
  and writes it there. A change of TRAIN_STEPS only causes a warning.

  Args:
    directory: RUN_DIR; files of any other kind in it are left alone.
    configuration: the text of `gin.config_str()`.
    allow_difference: whether to go on with another configuration than before.

  Raises:
    UserError: another run holds the directory, it belongs to another
      configuration (or has checkpoints of an unknown one), or it cannot be
      written.
  """
  with contextlib.ExitStack() as stack:
    try:
      os.makedirs(directory, exist_ok=True)
      stack.enter_context(_locked(directory))
      if not allow_difference:
        _check(directory, configuration)
      path = os.path.join(directory, layout.CONFIGURATION)
      output_files.write_text(path, configuration, 'RUN_DIR')
    except OSError as error:
      raise UserError(
        f'cannot write into {directory} ({error.strerror}); set RUN_DIR to a'
        ' directory that can be written'
      ) from error
    yield


def _has_begun(directory: str, left: tuple[str, ...]) -> bool:
  """Whether a run has left files, or folders with something in them."""
  paths = [os.path.join(directory, name) for name in left]
  return any(
    os.listdir(path) if os.path.isdir(path) else os.path.exists(path)
    for path in paths
  )


def _check(directory: str, configuration: str) -> None:
  path = os.path.join(directory, layout.CONFIGURATION)
  if not os.path.exists(path):
    if _has_begun(directory, (layout.CHECKPOINTS,)):
      raise UserError(
        f'{directory} has checkpoints but no {layout.CONFIGURATION} to compare '
        f'with; set RUN_DIR to another directory, or {OVERRIDE} to go on from '
        'them'
      )
    return
  if not _has_begun(
    directory, (layout.CHECKPOINTS, layout.VOCABULARY, layout.RESULTS)
  ):
    return  # bad input ended that run before there was anything to keep
  with open(path, encoding='utf-8') as file:
    before = file.read()
  if _NAMES_OF_0_1.search(before):
    raise UserError(
      f'{directory} holds a run of bertjax 0.1, whose configuration has other '
      f'names; set RUN_DIR to another directory, or {OVERRIDE} to go on from '
      'its last checkpoint without a comparison'
    )
  other_run, stretched = gin_bindings.differences(before, configuration)
  if other_run:
    more = f' (and {len(other_run) - 3} more)' if other_run[3:] else ''
    raise UserError(
      f'{directory} holds a run of another configuration: '
      f'{", ".join(other_run[:3])}{more}; set RUN_DIR to another directory,'
      f' or {OVERRIDE} to go on with the new one'
    )
  if stretched:
    print(
      f'warning: {", ".join(stretched)}: a learning-rate schedule over the'
      ' whole run is stretched with it',
      flush=True,
    )


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
  # The file stays after the run, empty: if it were removed, two runs could hold
  # locks on two files of this name.
  path = os.path.join(directory, layout.LOCK)
  lock: filelock.BaseFileLock = filelock.FileLock(path, fallback_to_soft=False)
  advice = 'wait for it or stop it'
  with contextlib.ExitStack() as stack:
    try:
      try:
        stack.enter_context(lock.acquire(blocking=False))
      except OSError as error:
        if error.errno not in _NO_LOCKS:
          raise
        lock = filelock.SoftFileLock(os.path.join(directory, layout.HELD))
        advice = 'if it is dead, delete that file'
        stack.enter_context(lock.acquire(blocking=False))
    except filelock.Timeout as error:
      raise UserError(
        f'{directory} is in use by {_holder(path)} ({lock.lock_file}); '
        f'{advice}, or set RUN_DIR to another directory'
      ) from error
    file = stack.enter_context(open(path, 'w', encoding='utf-8'))
    stack.callback(file.truncate, 0)
    json.dump({'process': os.getpid(), 'host': socket.gethostname()}, file)
    file.flush()
    yield


def _holder(path: str) -> str:
  """Returns the process and host that a lock file names."""
  try:
    with open(path, encoding='utf-8') as file:
      holder = json.load(file)
  except json.JSONDecodeError:  # being written at this moment
    holder = {'process': 'unknown', 'host': 'unknown'}
  return f'process {holder["process"]} on {holder["host"]}'
