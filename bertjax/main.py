"""The command line: flags to gin to run.

    python -m bertjax.main --gin_file=gin_configs/recipes/quickstart.gin
    python -m bertjax.main --gin_file=recipes/pretrain_text.gin \\
        --gin_file=models/bert_base.gin --gin.TEXT_FILES='"books/*.txt"'

--gin_file=FILE            a recipe or part; repeatable, later files win
--gin.NAME=VALUE           sets a macro (or any module.function.parameter)
--gin_bindings=BINDING     the same as a line of gin; repeatable
--gin_search_paths=FOLDER  searched before bertjax's own gin files
--dry_run                  print configuration, parameters, shapes, and stop

Several processes, unless the cluster (TPU pod, Slurm, GKE) describes them:

--coordinator_address=HOST:PORT  address of process 0
--process_count=N                number of processes
--process_index=I                index of this one, from 0
--join_seconds=300               how long to wait for the others

Exit status: 0 done; 2 a mistake in the input or a full disk, explained in one
line; 1 a run that cannot go on; 128 + n ended by signal n, with its state saved
if it had made a step. No other module imports gin.
"""

# ruff: noqa: E402

if __name__ == '__main__':  # before the imports, which take seconds
  from bertjax.launch import interruption

  interruption.end_at_once()

import contextlib
import copy
import errno
import inspect
import os
import re
import sys
import tokenize
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import gin
from absl import flags, logging

from bertjax.errors import RunStopped, UserError, did_you_mean
from bertjax.launch import command_line, host_memory, macros
from bertjax.runs import gin_bindings, layout, run_directory

# Not absl's global ones: under `python -m` this module is imported twice.
_FLAGS = flags.FlagValues()
_ABOUT: dict[str, Any] = {'help': 'See above.', 'flag_values': _FLAGS}
for _name in ('gin_file', 'gin_bindings', 'gin_search_paths'):
  flags.DEFINE_multi_string(_name, [], **_ABOUT)
flags.DEFINE_bool('dry_run', False, **_ABOUT)
flags.DEFINE_string('coordinator_address', None, **_ABOUT)
flags.DEFINE_integer('process_count', None, **_ABOUT)
flags.DEFINE_integer('process_index', None, **_ABOUT)
flags.DEFINE_float('join_seconds', 300, **_ABOUT)

_FULL = re.compile(rf'\[Errno ({errno.ENOSPC}|{errno.EDQUOT})\]')

# gin's second reader mistakes a folder such as the user's `data/` for a Python
# package and fails.
gin.config._FILE_READERS = [(open, os.path.isfile)]


def run(
  job: Callable[..., None],
  directory: str | None = None,
  init_from: str | None = None,
  allow_difference: bool = False,
  several_processes: bool = False,
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
  configuration = gin.config_str()
  if dry_run:
    print(configuration)
  if dry_run or directory is None or not processes.is_first():
    return job(dry_run=dry_run)
  with run_directory.claim(directory, configuration, allow_difference):
    job(dry_run=False)


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


# ------------------------------------------------------------------ gin files


def parse(
  files: Sequence[str], bindings: Sequence[str], folders: Sequence[str] = ()
) -> None:
  """Reads gin files, then bindings, and rejects mistakes.

  Args:
    files: later ones override earlier ones.
    bindings: lines of gin; override the files.
    folders: searched for files before the project's own gin_configs.

  Raises:
    UserError: anything misspelt, missing or unreadable.
  """
  paths = [*folders, *command_line.search_paths()]
  command_line.check_files(files, paths)
  # The project's own: what stands in somebody's folder may be a part.
  known = os.listdir(os.path.join(paths[-1], 'recipes'))
  recipes = [
    x for x in files if x.endswith(tuple(f'recipes/{n}' for n in known))
  ]
  if recipes[1:]:
    raise UserError(
      f'expected one recipe, got {" and ".join(recipes)}; the plan of a recipe '
      'is --gin_file=RECIPE --gin_file=runs/plan.gin'
    )
  gin.config._LOCATION_PREFIXES = ['', *paths]
  gin.clear_config()
  try:
    gin.parse_config_files_and_bindings(files, [], finalize_config=False)
    configuration = gin.config_str()
    gin.parse_config(
      [macros.quote(x, configuration, gin.config.parse_value) for x in bindings]
    )
    macros.check_used(gin.config_str())
    gin.finalize()
  except UserError:
    raise
  except (
    SyntaxError,
    tokenize.TokenError,
    ValueError,
    ImportError,
    NameError,
    OSError,
    AttributeError,
  ) as error:
    raise UserError(_explain(' '.join(str(error).split()))) from error


# Pattern of what gin says -> what to say instead.
_EXPLAINED = {
  r'^(.*?)/macro\.value set to `%gin.REQUIRED`': (
    '{0} is required; set it with --gin.{0}=VALUE'
  ),
  r"^No (?:bindings|values?) .* '(\w+)/gin\.macro'": (
    'the macro {0} has no value; set it with --gin.{0}=VALUE'
  ),
  r"malformed node .* Failed to parse token '(.*?)'": (
    'gin: {0} is not a value; a string needs its own quotes: '
    """--gin.NAME='"{0}"'"""
  ),
  r"^(.*(?:No module named 'bertjax\.|import name '\w+' from 'bertjax).*)": (
    'gin: {0}; modules have moved since bertjax 0.1: give its recipe again'
  ),
}


def _explain(line: str) -> str:
  for pattern, message in _EXPLAINED.items():
    if found := re.search(pattern, line):
      return message.format(found[1])
  if found := re.match(r"No configurable matching '(.*?)'", line):
    bound = gin_bindings.parse(gin.config_str())
    known = [re.sub(r'^.*/|\.\w+$', '', name) for name in bound]
    line += did_you_mean(found[1], known)
  if found := re.match(r"Configurable '(.*?)' .* named '(.*?)'", line):
    with contextlib.suppress(ValueError):  # to gin several have this name
      names = inspect.signature(gin.get_configurable(found[1])).parameters
      near = did_you_mean(found[2], names, cutoff=0.4)
      line += near or f' It has {", ".join(names)}.'
  return f'gin: {line}'


# --------------------------------------------------------------- command line


def main(argv: Sequence[str]) -> int:
  """Runs the command line and returns the exit status."""
  if any(re.fullmatch(r'-h|--?help(full|short)?', word) for word in argv[1:]):
    print(__doc__)
    return 0
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  # TensorFlow computes nothing that oneDNN speeds up, and would print about it.
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
  host_memory.keep_freed()
  logging.set_verbosity(logging.ERROR)
  try:
    _FLAGS.unparse_flags()  # else lists grow from call to call
    try:
      rest = _FLAGS(command_line.arguments(argv))[1:]
    except flags.Error as error:
      raise UserError(f'{error}; see --help') from error
    if rest:
      raise UserError(f'unexpected argument {rest[0]!r}; see --help')
    if not _FLAGS.gin_file:
      raise UserError(
        'a recipe is expected: --gin_file=gin_configs/recipes/quickstart.gin'
      )
    command_line.check_model(_FLAGS.gin_bindings)
    # Imported late because they import jax, which --help does not need and
    # which would set TensorFlow's log level first.
    from bertjax.launch import cluster, compilation_cache, process_group

    def job():
      with command_line.quiet_imports():
        parse(_FLAGS.gin_file, _FLAGS.gin_bindings, _FLAGS.gin_search_paths)
      logging.set_verbosity(logging.ERROR)
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
