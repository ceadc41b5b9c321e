"""The command line: flags to gin to run.

    python -m bertjax.main --gin_file=gin_configs/recipes/quickstart.gin
    python -m bertjax.main --gin_file=recipes/pretrain_text.gin \\
        --gin_file=models/bert_base.gin --gin.TEXT_FILES='"books/*.txt"'

--gin_file=FILE            a recipe or part; repeatable, later files win
--gin.NAME=VALUE           sets a macro (or any module.function.parameter)
--gin_bindings=BINDING     the same as a line of gin; repeatable
--gin_search_paths=FOLDER  searched for files and includes as well
--dry_run                  print configuration, parameters, shapes, and stop

Several processes, unless the cluster (TPU pod, Slurm, GKE) describes them:

--coordinator_address=HOST:PORT  address of process 0
--process_count=N                number of processes
--process_index=I                index of this one, from 0
--join_seconds=300               how long to wait for the others

Exit status: 0 done; 2 a mistake in the input, explained in one line; 1 a run
that cannot go on; 128 + n ended by signal n, with its state saved. No other
module imports gin.
"""

import contextlib
import copy
import difflib
import inspect
import os
import re
import sys
import tokenize
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gin
from absl import flags, logging

from bertjax.errors import RunStopped, UserError
from bertjax.launch import command_line, host_memory, macros
from bertjax.runs import run_directory

# Not absl's global ones: under `python -m` this module is imported twice.
_FLAGS = flags.FlagValues()
for _name in ('gin_file', 'gin_bindings', 'gin_search_paths'):
  flags.DEFINE_multi_string(_name, [], 'See above.', flag_values=_FLAGS)
flags.DEFINE_bool('dry_run', False, 'See above.', flag_values=_FLAGS)
flags.DEFINE_string(
  'coordinator_address', None, 'See above.', flag_values=_FLAGS
)
for _name in ('process_count', 'process_index'):
  flags.DEFINE_integer(_name, None, 'See above.', flag_values=_FLAGS)
flags.DEFINE_float('join_seconds', 300, 'See above.', flag_values=_FLAGS)

# gin's second reader mistakes a folder such as the user's `data/` for a Python
# package and fails.
gin.config._FILE_READERS = [(open, os.path.isfile)]


def run(
  job: Callable[..., None],
  directory: str | None = None,
  allow_difference: bool = False,
  several_processes: bool = False,
  dry_run: bool = False,
  first_file: str | None = None,
  unneeded: Sequence[str] = (),
) -> None:
  """Calls the job that a recipe binds; gin fills in its arguments.

  Args:
    job: called with `dry_run`.
    directory: RUN_DIR, claimed while the job runs; None: it needs none.
    allow_difference: whether to continue in the directory of another
      configuration.
    several_processes: whether several processes can share the job.
    dry_run: print the configuration and let the job print what it would do.
    first_file: gin file to read before all others, see `parse`.
    unneeded: macros that a file requires but the job does not need.
  """
  from bertjax.parallel import processes

  del first_file, unneeded  # `parse` reads them from the bindings
  if processes.count() > 1 and not several_processes:
    raise UserError(
      f'this recipe runs in one process, got {processes.count()}; start it '
      'on one machine alone, with --process_count=1 within a cluster'
    )
  configuration = gin.config_str()
  if dry_run:
    print(configuration)
    job(dry_run=True)
  elif directory is None or not processes.is_first():
    job(dry_run=False)
  else:
    with run_directory.claim(directory, configuration, allow_difference):
      job(dry_run=False)


def arguments(of: Callable[..., Any]) -> Callable[..., Any]:
  """Returns `argument(name, default)`, which makes an argument of `of`.

  A job thus makes only those objects of a recipe that it needs. Raises
  UserError if the recipe fine-tunes.
  """
  if re.search(r'^finetune\.fine_tune\.', gin.config_str(), re.MULTILINE):
    raise UserError(
      'expected a recipe that pretrains, got one that '
      'fine-tunes; leave its --gin_file out'
    )
  bindings = gin.get_bindings(of, resolve_references=False)

  def argument(name: str, default: Any = None) -> Any:
    # gin makes the objects of a value when it is copied.
    return copy.deepcopy(bindings[name]) if name in bindings else default

  return argument


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
  for path in reversed(paths):
    gin.add_config_file_search_path(path)
  command_line.check_files(files, paths)
  gin.clear_config()
  with _one_line_errors():
    gin.parse_config_files_and_bindings(files, [], finalize_config=False)
    first_file = _bound_to_run('first_file')
    if first_file:  # read it again in front of the others, which override it
      gin.clear_config()
      gin.parse_config_files_and_bindings(
        [first_file, *files], [], finalize_config=False
      )
    configuration = gin.config_str()
    for name in _bound_to_run('unneeded') or ():
      if macros.defined_in(configuration).get(name) == '%gin.REQUIRED':
        gin.bind_parameter(f'{name}/macro.value', None)
    bindings = [
      macros.quote(binding, configuration, gin.config.parse_value)
      for binding in bindings
    ]
    gin.parse_config_files_and_bindings([], bindings, finalize_config=False)
    macros.check_used(gin.config_str())
    gin.finalize()


def _bound_to_run(parameter: str) -> Any:
  """Returns the value that files bind to a parameter of `run`, or None."""
  try:
    return gin.query_parameter(f'bertjax.main.run.{parameter}')
  except ValueError:
    return None


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
  """Turns gin's errors into UserErrors of one line."""
  try:
    yield
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
    raise UserError(_explain(error)) from error


def _explain(error: Exception) -> str:
  text = str(error)
  required = re.match(r'(.*?)/macro\.value set to `%gin.REQUIRED`', text)
  if required:
    name = required[1]
    return f'{name} is required; set it with --gin.{name}=VALUE'
  unset = re.match(r"No (?:bindings|values?) .* '(\w+)/gin\.macro'", text)
  if unset:
    name = unset[1]
    return f'the macro {name} has no value; set it with --gin.{name}=VALUE'
  line = ' '.join(text.split())
  token = re.search(r"malformed node .* Failed to parse token '(.*?)'", line)
  if token:
    return (
      f'gin: {token[1]} is not a value; a string needs its own quotes: '
      f"""--gin.NAME='"{token[1]}"'"""
    )
  parameter = re.match(
    r"Configurable '(.*?)' doesn't have a parameter named '(.*?)'", line
  )
  if parameter:
    line += _nearest_parameter(*parameter.groups())
  unknown = re.match(r"No configurable matching '(.*?)'", line)
  if unknown:
    known = set(
      re.findall(
        r'^(?:[\w/]+/)?([\w.]+)\.\w+ =', gin.config_str(), re.MULTILINE
      )
    )
    near = difflib.get_close_matches(unknown[1], known, n=1)
    line += f' Did you mean {near[0]!r}?' if near else ''
  if re.search(
    r"No module named 'bertjax\.|import name '\w+' from 'bertjax", line
  ):
    line += '; modules have moved since bertjax 0.1: give its recipe again'
  return f'gin: {line}'


def _nearest_parameter(name: str, parameter: str) -> str:
  try:
    function = gin.get_configurable(name)
  except ValueError:
    return ''
  names = list(inspect.signature(function).parameters)
  near = difflib.get_close_matches(parameter, names, n=1, cutoff=0.4)
  return (
    f' Did you mean {near[0]!r}?' if near else (f' It has {", ".join(names)}.')
  )


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
    try:
      _FLAGS.unparse_flags()  # else lists grow from call to call
      rest = _FLAGS(command_line.arguments(argv))[1:]
    except flags.Error as error:
      raise UserError(f'{error}; see --help') from error
    if rest:
      raise UserError(f'unexpected argument {rest[0]!r}; see --help')
    if not _FLAGS.gin_file:
      raise UserError(
        'a recipe is expected: --gin_file=gin_configs/recipes/quickstart.gin'
      )
    # Imported late because they import jax, which --help does not need and
    # which would set TensorFlow's log level first.
    from bertjax.launch import compilation_cache, process_group

    def job():
      with command_line.quiet_imports():
        parse(_FLAGS.gin_file, _FLAGS.gin_bindings, _FLAGS.gin_search_paths)
      logging.set_verbosity(logging.ERROR)
      gin.get_configurable(run)(dry_run=_FLAGS.dry_run)

    compilation_cache.enable()
    command_line.skip_absent_tpu()
    process_group.run(
      job,
      _FLAGS.coordinator_address,
      _FLAGS.process_count,
      _FLAGS.process_index,
      _FLAGS.join_seconds,
    )
  except (UserError, RunStopped) as error:
    # gin appends lines that say where it was called from.
    line = str(error).split('\n  In call to configurable')[0]
    print(f'bertjax: {" ".join(line.split())}', file=sys.stderr)
    return error.status
  except KeyboardInterrupt:
    print('bertjax: interrupted', file=sys.stderr)
    return 130
  return 0


if __name__ == '__main__':
  # gin files bind the `run` of bertjax.main, but this module is __main__.
  from bertjax import main as library

  try:
    exit_status = library.main(sys.argv)
  except BaseException:
    traceback.print_exc()
    exit_status = 1
  sys.stdout.flush()
  sys.stderr.flush()
  # Not sys.exit: everything is closed, and tf.data's threads can block the
  # interpreter's shutdown for ever (see bertjax.data.safe_iterators).
  os._exit(exit_status)
