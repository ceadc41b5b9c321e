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
import os
import pathlib
import re
import socket
from collections.abc import Iterator

import filelock

from bertjax.errors import UserError
from bertjax.runs import differences, gin_bindings, layout, output_files
from bertjax.text import whole_files
from bertjax.values import Path, checked

OVERRIDE = '--gin.ALLOW_DIFFERENCE=True'
# Every training recipe of 0.1 imports this; modules have moved since.
_NAMES_OF_0_1 = re.compile(r'^from bertjax import partitioning$', re.MULTILINE)
_MODEL = 'the model of a Hugging Face directory'
# What a run never writes, and a reader of the folder would take for its model,
# or what has a vocabulary of its own, which a run would replace.
_OF_ANOTHER = {
  'config.json': _MODEL,
  'model.safetensors': _MODEL,
  'COMPLETED': 'the mark of a prepared corpus',
}
# The errors of flock on a file system without locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
@checked
def claim(
  directory: Path, configuration: str, allow_difference: bool = False
) -> Iterator[None]:
  """Holds a run directory for one run with one configuration.

  Makes the directory, locks it, compares `configuration` with its `config.gin`
  and writes it there. A change of TRAIN_STEPS only causes a warning.

  Args:
    directory: RUN_DIR; files of any other kind in it are left alone.
    configuration: the text of `gin.config_str()`.
    allow_difference: whether to go on with another configuration than before.

  Raises:
    UserError: it is a Hugging Face directory or a prepared corpus, another run
      holds it, it belongs to another configuration (or has checkpoints of an
      unknown one), or it cannot be written.
  """
  for name, what in _OF_ANOTHER.items():
    if os.path.exists(os.path.join(directory, name)):
      raise UserError(
        f'{directory} holds {name}, {what}, beside which no run is written; '
        'set RUN_DIR to another directory'
      )
  with contextlib.ExitStack() as stack:
    with output_files.explain_failure(directory):
      os.makedirs(directory, exist_ok=True)
      stack.enter_context(_locked(directory))
      if not allow_difference:
        _check(pathlib.Path(directory), configuration)
      path = os.path.join(directory, layout.CONFIGURATION)
      output_files.write_text(path, configuration, 'RUN_DIR')
    yield


def _check(directory: pathlib.Path, configuration: str) -> None:
  path = directory / layout.CONFIGURATION
  checkpoints = directory / layout.CHECKPOINTS
  has_checkpoints = checkpoints.is_dir() and any(checkpoints.iterdir())
  kept = (*layout.VOCABULARIES, layout.RESULTS)
  has_begun = has_checkpoints or any((directory / x).exists() for x in kept)
  if has_checkpoints and not path.exists():
    raise UserError(
      f'{directory} has checkpoints but no {layout.CONFIGURATION} to compare '
      f'with; set RUN_DIR to another directory, or {OVERRIDE} to go on from '
      'them'
    )
  if not path.exists() or not has_begun:
    return  # bad input ended that run before there was anything to keep
  before = whole_files.read(str(path), gin_bindings.FIX) or ''
  if _NAMES_OF_0_1.search(before):
    raise UserError(
      f'{directory} holds a run of bertjax 0.1, whose configuration has other '
      f'names; set RUN_DIR to another directory, or {OVERRIDE} to go on from '
      'its last checkpoint without a comparison'
    )
  other_run, stretched = gin_bindings.differences(before, configuration)
  if other_run:
    raise UserError(
      f'{directory} holds a run of another configuration: '
      f'{differences.listed(other_run)}; set RUN_DIR to another directory, or '
      f'{OVERRIDE} to go on with the new one'
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
        held = os.path.join(directory, layout.HELD)
        advice = f'if it is dead, delete {layout.LOCK} and {layout.HELD}'
        if os.path.getsize(path) and not os.path.exists(held):
          # A run that had locks, as it still may where it is.
          raise filelock.Timeout(path) from error
        lock = filelock.SoftFileLock(held)
        stack.enter_context(lock.acquire(blocking=False))
    except filelock.Timeout as error:
      with open(path, encoding='utf-8') as file:
        holder = file.read() or 'another process'
      raise UserError(
        f'{directory} is in use by {holder} ({lock.lock_file}); {advice}, or '
        'set RUN_DIR to another directory'
      ) from error
    file = stack.enter_context(open(path, 'w', encoding='utf-8'))
    stack.callback(file.truncate, 0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    yield
