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
if it had made a step. No other module imports gin.
"""

# ruff: noqa: E402

if __name__ == '__main__':  # before the imports, which take seconds
  from bertjax.launch import interruption

  interruption.end_at_once()

import contextlib
import copy
import errno
import functools
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import gin
from absl import flags, logging

from bertjax import values
from bertjax.errors import RunStopped, UserError, did_you_mean
from bertjax.launch import (
  command_line,
  gin_files,
  host_memory,
  macros,
  recipes,
)
from bertjax.runs import gin_bindings, layout, run_directory

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


class _AsText(gin.config_parser.ParserDelegate):
  """Lets gin's parser import and make nothing."""

  def configurable_reference(self, name: str, evaluate: bool) -> object:
    return gin_files.Reference(f'@{name}{"()" if evaluate else ""}')

  def macro(self, name: str) -> object:
    return gin_files.Reference(f'%{name}')


def _statements(file: TextIO) -> Iterator[Any]:
  return gin.config_parser.ConfigParser(file, _AsText())


def understand(
  files: Sequence[str], bindings: Sequence[str], folders: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
  """Checks gin files and bindings, and imports nothing that they name.

  Args:
    files: or names of recipes; later ones override earlier ones.
    bindings: NAME=VALUE as a shell gives it, or lines of gin; override files.
    folders: searched for files before the project's own gin_configs.

  Returns:
    the files in the order in which they count, and bindings as lines of gin.

  Raises:
    UserError: anything misspelt, missing or unreadable.
  """
  paths = [*folders, *command_line.search_paths()]
  files = recipes.resolve(files, paths)
  configuration = gin_files.read(files, paths, _statements)
  if not any(name.endswith('run.job') for _, name in configuration.parameters):
    raise UserError(f'expected a recipe, got {" and ".join(files)}; see --list')
  using = functools.partial(recipes.using, statements=_statements)
  lines = []
  for binding in bindings:
    name = binding.partition('=')[0].strip()
    if name.isidentifier():
      macros.check_used(configuration, [name], using)
    lines.append(macros.as_gin(binding, configuration))
  for binding, line in zip(bindings, lines, strict=True):
    for found in gin_files.parse(line, _statements, f'--gin.{binding}'):
      if hasattr(found, 'value'):
        configuration.parameters['', binding] = found.value
  macros.check_used(configuration, configuration.macros, using)
  macros.check_required(configuration, lines)
  return files, lines


def parse(
  files: Sequence[str], bindings: Sequence[str], folders: Sequence[str] = ()
) -> None:
  """Makes gin files and bindings gin's configuration; see `understand`."""
  files, bindings = understand(files, bindings, folders)
  gin.config._LOCATION_PREFIXES = ['', *folders, *command_line.search_paths()]
  gin.clear_config()
  try:
    gin.parse_config_files_and_bindings(files, bindings)
  except UserError:
    raise
  except (
    SyntaxError,
    ValueError,
    ImportError,
    NameError,
    OSError,
    AttributeError,
  ) as error:
    raise UserError(_explain(' '.join(str(error).split()))) from error
  _check_values(gin.config._CONFIG)


def _check_values(bound: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
  """Checks all values against annotations, and tells which macro to set.

  Args:
    bound: (scope, function) -> parameter -> value, as gin keeps it.
  """
  for (_, function), parameters in bound.items():
    given, macros_of = {}, {}
    for name, value in parameters.items():
      followed = []
      while getattr(value, 'selector', None) == 'gin.macro':
        macro = macros_of[name] = '/'.join(value.scopes)
        if macro in followed:
          raise UserError(
            f'the macro {macro} stands for itself; set it with '
            f'--gin.{macro}=VALUE'
          )
        followed.append(macro)
        value = bound[macro, 'gin.macro']['value']
      reference = gin.config.ConfigurableReference
      parts = gin.config._iterate_flattened_values(value)
      if not any(isinstance(part, reference) for part in parts):
        given[name] = value
    values.check(gin.config._REGISTRY[function].wrapped, given, macros_of)


# Pattern of what gin says -> what to say instead.
_EXPLAINED = {
  r"^No (?:bindings|values?) .* '(\w+)/gin\.macro'": (
    'the macro {0} has no value; set it with --gin.{0}=VALUE'
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


def _files(argv: Sequence[str]) -> list[str]:
  """Sets the flags; returns the recipe and other gin files."""
  _FLAGS.unparse_flags()  # else lists grow from call to call
  try:
    rest = _FLAGS(command_line.arguments(argv))[1:]
  except flags.Error as error:
    macro = re.match(r"Unknown command line flag '([A-Z]\w*)'", str(error))
    near = f'; did you mean --gin.{macro[1]}' if macro else ''
    raise UserError(f'{error}{near}; see --help') from error
  for word in rest:
    if re.match(r'[\w.]+=', word):
      raise UserError(f'unexpected {word!r}; did you mean --gin.{word}')
  return [*rest, *_FLAGS.gin_file]


def _answer(files: Sequence[str]) -> str | None:
  """Returns what --help or --list print, None without them."""
  if _FLAGS.list:
    return recipes.listing()
  if not _FLAGS.help:
    return None
  paths = [*_FLAGS.gin_search_paths, *command_line.search_paths()]
  pages = [recipes.describe(file, paths, _statements) for file in files]
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
    understand(files, *setting)  # before what takes seconds
    command_line.check_model(_FLAGS.gin_bindings)
    # Imported late because they import jax, which --help does not need and
    # which would set TensorFlow's log level first.
    from bertjax.launch import cluster, compilation_cache, process_group

    def job():
      parse(files, *setting)
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
