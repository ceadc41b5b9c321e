"""The run's directory: one run at a time, one configuration for its lifetime.

    with run_directory.claim('runs/x', gin.config_str()):
      train()

A run holds an advisory lock (flock) on `.lock` in its directory, with its host
and process id in it. The kernel drops the lock with the process, however that
dies, so a dead run is no obstacle; shared file systems such as NFS pass the
lock on to other hosts. `config.gin` holds the configuration, and a later run
must have the same one, but for what cannot change what is learnt (`IGNORED`).

Source: ours.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator

from bertjax.errors import UserError

CONFIGURATION = 'config.gin'
LOCK = '.lock'
# Of fine-tuning: `tasks`, with `task` and `best_run` of each.
RESULTS = 'results.json'
OVERRIDE = '--gin.ALLOW_DIFFERENCE=True'

# Bindings that may differ: where the run lies, how often it reports, and how
# its arithmetic is laid out over the hardware. Macros, then parameters.
IGNORED = re.compile(
  r'(.*/)?('
  r'RUN_DIR|SEEDS|TASKS|LOG_STEPS|EVAL_STEPS|CHECKPOINT_STEPS|ALLOW_DIFFERENCE'
  r'|MESH\w*|(\w+_)?KERNEL|PROCESSES|PROFILE\w*'
  r'|.*\.(run_dir|directory|dry_run|allow_difference|seeds|tasks)'
  r'|.*\.(log_steps|eval_steps|checkpoint_steps|keep|keep_every)'
  r'|.*\.(mesh|(\w+_)?kernel|process_rows|several_processes|profile\w*)'
  r'|(.*\.)?process_rows\.\w+'
  r'|(.*\.)?make_mesh\.\w+'
  r')'
)
# The length of the run: may differ, and stretches a schedule over it.
STRETCHES = re.compile(r'(.*/)?(TRAIN_STEPS|.*\.total_steps|.*\btrain\.steps)')

# What flock says where a file system has no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def claim(
  directory: str, configuration: str, allow_difference: bool = False
) -> Iterator[None]:
  """Holds a run directory for one run with one configuration.

  Makes the directory, locks it, compares `configuration` with what its
  `config.gin` holds and writes it there. Another TRAIN_STEPS is only warned of.

  Args:
    directory: RUN_DIR; files of any other kind in it are left alone.
    configuration: the text of `gin.config_str()`.
    allow_difference: go on with another configuration than before.

  Raises:
    UserError: another run is in it, it belongs to another configuration (or
      has checkpoints of an unknown one), or it cannot be written.
  """
  with contextlib.ExitStack() as stack:
    try:
      os.makedirs(directory, exist_ok=True)
      stack.enter_context(_locked(directory))
      if not allow_difference:
        _check(directory, configuration)
      _write(directory, configuration)
    except OSError as error:
      raise UserError(
        f'cannot write into {directory} ({error.strerror}); set RUN_DIR to a'
        ' directory that can be written'
      ) from error
    yield


def parse_bindings(configuration: str) -> dict[str, str]:
  """Returns name -> text of the value, for macros and parameters.

      SEED = 0                        {'SEED': '0',
      train/f.items = \\               'train/f.items': "['a', 'b']"}
          ['a',
           'b']

  Args:
    configuration: the text of `gin.config_str()`, which indents all but the
      first line of a value; imports and comments are left out.
  """
  bindings = re.findall(
    r'^([\w./]+) = (.*(?:\n[ \t]+.*)*)', configuration, re.MULTILINE
  )
  return {
    name: ' '.join(value.removeprefix('\\').split()) for name, value in bindings
  }


def differences(before: str, now: str) -> tuple[list[str], list[str]]:
  """Compares two configurations.

  Returns:
    differences such as 'LENGTH 128 -> 256' that make another run, and those
    that only stretch it.
  """
  old, new = parse_bindings(before), parse_bindings(now)
  other_run, stretched = [], []
  for name in sorted({*old, *new}):
    if old.get(name) != new.get(name) and not IGNORED.fullmatch(name):
      line = f'{name} {_short(old.get(name))} -> {_short(new.get(name))}'
      kind = stretched if STRETCHES.fullmatch(name) else other_run
      kind.append(line)
  return other_run, stretched


def _short(value: str | None) -> str:
  if value is None:
    return '(unset)'
  return value if len(value) <= 60 else value[:57] + '...'


def _has_begun(directory: str, left: tuple[str, ...]) -> bool:
  """Whether a run has left files, or folders with something in them."""
  paths = [os.path.join(directory, name) for name in left]
  return any(
    os.listdir(path) if os.path.isdir(path) else os.path.exists(path)
    for path in paths
  )


def _check(directory: str, configuration: str):
  path = os.path.join(directory, CONFIGURATION)
  if not os.path.exists(path):
    if _has_begun(directory, ('checkpoints',)):
      raise UserError(
        f'{directory} has checkpoints but no {CONFIGURATION} to compare with;'
        f' set RUN_DIR to another directory, or {OVERRIDE} to go on from them'
      )
    return
  if not _has_begun(directory, ('checkpoints', 'vocab.txt', RESULTS)):
    return  # a mistake in its input ended it before there was anything to keep
  with open(path, encoding='utf-8') as file:
    other_run, stretched = differences(file.read(), configuration)
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


def _write(directory: str, configuration: str):
  """Replaces config.gin; a kill leaves the old or the new one, never a part."""
  path = os.path.join(directory, CONFIGURATION)
  with open(path + '.new', 'w', encoding='utf-8') as file:
    file.write(configuration)
    file.flush()
    os.fsync(file.fileno())
  os.replace(path + '.new', path)


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
  # The file stays, empty, after the run: removing it would let two runs hold
  # locks on two files of this name.
  with open(os.path.join(directory, LOCK), 'a+', encoding='utf-8') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      holder = _read_holder(file)
      if error.errno not in _NO_LOCKS:
        raise _in_use(directory, holder) from error
      if not _is_dead(holder):
        advice = 'if it is dead, delete that file'
        raise _in_use(directory, holder, advice) from error
    file.truncate(0)
    json.dump({'process': os.getpid(), 'host': socket.gethostname()}, file)
    file.flush()
    try:
      yield
    finally:
      file.truncate(0)


def _read_holder(file) -> dict:
  """Returns the process and host in a lock file; {} where it is empty."""
  file.seek(0)
  try:
    return json.loads(file.read() or '{}')
  except json.JSONDecodeError:  # being written at this moment
    return {'process': 'unknown', 'host': 'unknown'}


def _is_dead(holder: dict) -> bool:
  """Whether no lock is needed: nobody's, or a dead process of this host."""
  if not holder:
    return True
  if holder['host'] != socket.gethostname():
    return False
  try:
    os.kill(holder['process'], 0)  # sends nothing
  except ProcessLookupError:
    return True
  except (PermissionError, TypeError):  # another user's, or unknown
    pass
  return False


def _in_use(
  directory: str, holder: dict, advice: str = 'wait for it or stop it'
) -> UserError:
  return UserError(
    f'{directory} is in use by process {holder.get("process", "unknown")} on'
    f' {holder.get("host", "unknown")} ({os.path.join(directory, LOCK)});'
    f' {advice}, or set RUN_DIR to another directory'
  )
