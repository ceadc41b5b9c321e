"""The command line: flags to gin to run.

    python -m bertjax.main quickstart
    python -m bertjax.main pretrain_text bert_base --gin.TEXT_FILES=books/*.txt
    python -m bertjax.main --help pretrain_text

RECIPE                     a recipe's name, or any gin file; repeatable
--gin_file=FILE            the same; files behind the recipe win
--gin.NAME=VALUE           sets a macro (or any module.function.parameter)
--gin_bindings=BINDING     the same as a line of gin; repeatable
--gin_search_paths=FOLDER  searched before bertjax's own gin files
--dry_run                  print configuration, parameters, shapes, and stop
--list                     print the recipes, with a line each
--help                     print this; with a recipe: its macros

Several processes, unless the cluster (TPU pod, Slurm, GKE) describes them:

--coordinator_address=HOST:PORT  address of process 0
--process_count=N                number of processes
--process_index=I                index of this one, from 0
--join_seconds=300               how long to wait for the others

Exit status: 0 done; 2 a mistake in the input or a full disk, explained in one
line; 1 a run that cannot go on; 128 + n ended by signal n, with its state saved
if it had made a step.
"""

# ruff: noqa: E402

if __name__ == '__main__':  # before the imports, which take seconds
  from bertjax.launch import interruption

  interruption.end_at_once()

import contextlib
import copy
import errno
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import gin
from absl import flags, logging

from bertjax import errors, values, without_pandas
from bertjax.errors import RunStopped, UserError
from bertjax.launch import command_line, configuration, host_memory, recipes
from bertjax.runs import layout, progress_line, run_directory

# Not absl's global ones: under `python -m` this module is imported twice.
_FLAGS = flags.FlagValues()
_ABOUT: dict[str, Any] = {'help': 'See above.', 'flag_values': _FLAGS}
for _name in ('gin_file', 'gin_bindings', 'gin_search_paths'):
  flags.DEFINE_multi_string(_name, [], **_ABOUT)
for _name in ('dry_run', 'help', 'list'):
  flags.DEFINE_bool(_name, False, **_ABOUT)
flags.DEFINE_string('coordinator_address', None, **_ABOUT)
flags.DEFINE_integer('process_count', None, **_ABOUT)
flags.DEFINE_integer('process_index', None, **_ABOUT)
flags.DEFINE_float('join_seconds', 300, **_ABOUT)
_FLAGS.set_gnu_getopt()  # a recipe may come before the flags

_FULL = re.compile(rf'\[Errno ({errno.ENOSPC}|{errno.EDQUOT})\]')


@values.checked
def run(
  job: Callable[..., None],
  directory: values.Path | None = None,
  init_from: values.Path | None = None,
  allow_difference: bool = False,
  several_processes: bool = False,
  following: str | None = None,
  dry_run: bool = False,
) -> None:
  """Calls the job that a recipe binds; gin fills in its arguments.

  Args:
    job: called with `dry_run`.
    directory: RUN_DIR, claimed while the job runs; None: it needs none.
    init_from: a run or a Hugging Face directory that the job reads unless it
      continues; if it is not there, this is said before anything is made.
    allow_difference: whether to continue in the directory of another
      configuration.
    several_processes: whether several processes can share the job.
    following: the command that people usually want next, with {} for
      `directory`.
    dry_run: print the configuration and let the job print what it would do.
  """
  from bertjax.parallel import processes
  from bertjax.runs import trained_model

  if init_from is not None and not os.path.isdir(
    os.path.join(directory or '', layout.CHECKPOINTS)
  ):
    trained_model.best_run(init_from)
  if processes.count() > 1 and not several_processes:
    raise UserError(
      f'this recipe runs in one process, got {processes.count()}; start it '
      'on one machine alone, with --process_count=1 within a cluster'
    )
  bindings = gin.config_str()
  if dry_run:
    print(bindings)
  if dry_run or directory is None or not processes.is_first():
    return job(dry_run=dry_run)
  with run_directory.claim(directory, bindings, allow_difference):
    job(dry_run=False)
  print(f'\n{directory} holds {", ".join(layout.held_by(directory))}')
  if following is not None:
    print(
      f'next: {following.replace("{}", shlex.quote(directory))}', flush=True
    )


def call_with_arguments(
  function: Callable[..., Any],
  of: Callable[..., Any],
  names: Sequence[str],
  **more: Any,
) -> Any:
  """Calls a function with arguments that a recipe binds for another one.

  Only the objects that it names are made: a plan needs no data.

  Args:
    function: called with the named arguments and `more`.
    of: whose arguments.
    names: of those; the first one must be bound.

  Raises:
    UserError: it is not.
  """
  bound = gin.get_bindings(of, resolve_references=False)
  if names[0] not in bound:
    raise UserError(
      'expected a recipe that pretrains, got one that does not; put another '
      '--gin_file in its place'
    )
  # gin makes the objects of a value when it is copied.
  named = copy.deepcopy({name: bound[name] for name in names if name in bound})
  return function(**named, **more)


# --------------------------------------------------------------- command line


def _files(argv: Sequence[str]) -> list[str]:
  """Sets the flags; returns the recipe and other gin files."""
  _FLAGS.unparse_flags()  # else lists grow from call to call
  argv = command_line.arguments(argv)
  try:
    rest = _FLAGS(argv)[1:]
  except flags.Error as error:
    near = recipes.near_flag(str(error), argv)
    raise UserError(f'{error}{near}; see --help') from error
  for word in rest:
    if not word.strip():
      raise UserError('expected a recipe, got an empty word; see --list')
    if re.match(r'[\w.]+=', word):
      raise UserError(f'unexpected {word!r}; did you mean --gin.{word}')
    if os.path.isfile(word) and not word.endswith('.gin'):
      raise UserError(command_line.no_gin(word, argv))
  folders = [os.path.expanduser(x) for x in _FLAGS.gin_search_paths]
  _FLAGS['gin_search_paths'].value = folders
  for folder in folders:
    what, setting = 'a folder that is there', '--gin_search_paths'
    errors.expect(os.path.isdir(folder), what, folder, setting)
  return [*rest, *_FLAGS.gin_file]


def _answer(files: Sequence[str]) -> str | None:
  """Returns what --help or --list print, None without them."""
  if _FLAGS.list:
    return recipes.listing()
  if not _FLAGS.help:
    return None
  paths = [*_FLAGS.gin_search_paths, *command_line.search_paths()]
  pages = [recipes.describe(file, paths) for file in files]
  return '\n\n'.join(pages) or __doc__


def main(argv: Sequence[str]) -> int:
  """Runs the command line and returns the exit status."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  host_memory.keep_freed()
  logging.set_verbosity(logging.ERROR)
  try:
    files = _files(argv)
    if text := _answer(files):
      return command_line.show(text)
    if not files:
      raise UserError(
        'a recipe is expected, such as quickstart or '
        '--gin_file=gin_configs/recipes/quickstart.gin; see --list'
      )
    setting = (_FLAGS.gin_bindings, _FLAGS.gin_search_paths)
    # Before what takes seconds.
    configuration.understand(files, *setting, tell=True)
    command_line.check_model(_FLAGS.gin_bindings)
    # Imported late because they import jax, which --help does not need and
    # which would set TensorFlow's log level first.
    with progress_line.wait('importing jax'):
      from bertjax.launch import cluster, compilation_cache, process_group

    def job():
      with progress_line.wait('importing what the recipe needs'):
        configuration.parse(files, *setting)
        if 'pyarrow' in sys.modules:
          without_pandas.tell_pyarrow()
      logging.set_verbosity(logging.ERROR)
      with configuration.explained():
        gin.get_configurable(run)(dry_run=_FLAGS.dry_run)

    compilation_cache.enable()
    command_line.skip_absent_tpu()
    place = cluster.find(
      _FLAGS.coordinator_address,
      _FLAGS.process_count,
      _FLAGS.process_index,
      _FLAGS.join_seconds,
    )
    process_group.run(job, place)
    sys.stdout.flush()
  except (UserError, RunStopped) as error:
    # gin appends lines that say where it was called from.
    line, status = str(error).split('\n  In call to')[0], error.status
  except KeyboardInterrupt:
    line, status = 'interrupted', 130
  except RuntimeError as error:
    if not str(error).startswith('RESOURCE_EXHAUSTED'):  # of jax
      raise
    line, status = str(error).split('\n')[0], 1
    line += '; set BATCH_SIZE or LENGTH to less, or EncoderConfig.recompute to '
    line += "'all'; the recipe plan says what fits"
  except OSError as error:
    if not _FULL.match(str(error)):  # gin's copy of it has no errno
      raise
    line, status = str(error).split('\n  In call to')[0], 2
    line += '; free space, also for standard output and temporary files'
  else:
    return 0
  print(f'bertjax: {" ".join(line.split())}', file=sys.stderr)
  return status


if __name__ == '__main__':
  # gin files bind the `run` of bertjax.main, but this module is __main__.
  from bertjax import main as library

  try:
    exit_status = library.main(sys.argv)
  except BaseException:
    traceback.print_exc()
    exit_status = 1
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError):  # `main` has told of a full disk
      stream.flush()
  # Not sys.exit: everything is closed, and tf.data's threads can block the
  # interpreter's shutdown for ever (see bertjax.data.safe_iterators).
  os._exit(exit_status)
