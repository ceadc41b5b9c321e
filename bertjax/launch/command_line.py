"""What the command line does before and around gin, without gin.

    arguments = command_line.arguments(['--gin.SEED=1'])   # for absl's flags
    command_line.check_files(['recipes/x.gin'], command_line.search_paths())

Source: ours.
"""

import contextlib
import difflib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Sequence

from bertjax.errors import UserError
from bertjax.parallel import devices

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def search_paths() -> list[str]:
  """Returns folders in which 'gin_configs/recipes/x.gin', 'recipes/x.gin' and
  includes are found: the checkout's, or the installed package's."""
  roots = [os.path.dirname(_PACKAGE), _PACKAGE]
  paths = [
    path
    for root in roots
    for path in (root, os.path.join(root, 'gin_configs'))
    if os.path.isdir(os.path.join(root, 'gin_configs'))
  ]
  return paths


def check_files(files: Sequence[str], paths: Sequence[str]) -> None:
  """Raises UserError, with the nearest name, where a file is in no folder."""
  for file in files:
    if any(os.path.isfile(os.path.join(p, file)) for p in ('', *paths)):
      continue
    known = [
      os.path.relpath(os.path.join(folder, name), root)
      for root in paths
      for folder, _, names in os.walk(root)
      if os.path.basename(root) == 'gin_configs'
      for name in names
      if name.endswith('.gin')
    ]
    stripped = file.removeprefix('gin_configs/')
    near = difflib.get_close_matches(stripped, known, n=1, cutoff=0.4)
    raise UserError(
      f'--gin_file={file}: no such file here ({os.getcwd()}) or in '
      'gin_configs' + (f'; did you mean gin_configs/{near[0]}?' if near else '')
    )


def arguments(argv: Sequence[str]) -> list[str]:
  """Returns argv with --gin.NAME=VALUE (or VALUE as next word) as bindings."""
  found, words = [], list(argv)
  while words:
    word = words.pop(0)
    if re.match(r'--?gin\.', word):
      name = word.split('gin.', 1)[1]
      if '=' not in name and words:
        name += '=' + words.pop(0)
      word = f'--gin_bindings={name}'
    found.append(word)
  return found


@contextlib.contextmanager
def quiet_imports():
  """Keeps what TensorFlow's C++ prints while it is imported off the screen.

  It does so before its log level can be set. Shown after all where the import
  fails for a reason that is not the user's.
  """
  sys.stderr.flush()
  with tempfile.TemporaryFile() as file, os.fdopen(os.dup(2), 'wb') as screen:
    os.dup2(file.fileno(), 2)
    try:
      yield
    except UserError:
      raise
    except BaseException:
      file.seek(0)
      screen.write(file.read())
      raise
    finally:
      sys.stderr.flush()
      os.dup2(screen.fileno(), 2)


def skip_absent_tpu() -> None:
  """Keeps jax from looking for a TPU where libtpu is there to compile alone.

  It would say at length, in lines of its own, that there is none.
  """
  import jax

  plugins = [
    name
    for name in ('jax_cuda12_plugin', 'jax_cuda13_plugin', 'jax_rocm7_plugin')
    if importlib.util.find_spec(name)
  ]
  if not (devices.tpu_is_there() or plugins or jax.config.jax_platforms):
    jax.config.update('jax_platforms', 'cpu')
