"""What the command line does before and around gin, without gin.

    >>> arguments(['--gin.SEED=1', '--gin.RUN_DIR', 'runs/x'])  # for absl
    ['--gin_bindings=SEED=1', '--gin_bindings=RUN_DIR=runs/x']
    >>> check_files(['recipes/quickstart.gin'], search_paths())

`quiet_imports` and `skip_absent_tpu` hide what libraries print at start-up.
"""

import contextlib
import difflib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence

from bertjax.errors import UserError
from bertjax.parallel import devices

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def search_paths() -> list[str]:
  """Returns the folders in which gin files and their includes are found.

  They belong to the checkout or else the installed package, and resolve both
  'gin_configs/recipes/x.gin' and 'recipes/x.gin'.
  """
  roots = [os.path.dirname(_PACKAGE), _PACKAGE]
  paths = [
    path
    for root in roots
    for path in (root, os.path.join(root, 'gin_configs'))
    if os.path.isdir(os.path.join(root, 'gin_configs'))
  ]
  return paths


def check_files(files: Sequence[str], paths: Sequence[str]) -> None:
  """Raises UserError, with the nearest name, if a file is in no folder."""
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
  """Rewrites --gin.NAME=VALUE (or --gin.NAME VALUE) as --gin_bindings."""
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
def quiet_imports() -> Iterator[None]:
  """Hides what TensorFlow's C++ prints during its import.

  It prints before its log level can be set. The output is shown after all if
  the import fails, unless with a UserError.
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
  """Keeps jax from looking for a TPU if libtpu is installed only to compile.

  Otherwise jax prints at length that there is none.
  """
  import jax

  plugins = [
    name
    for name in ('jax_cuda12_plugin', 'jax_cuda13_plugin', 'jax_rocm7_plugin')
    if importlib.util.find_spec(name)
  ]
  # jax adds this attribute at import.
  chosen = jax.config.jax_platforms  # type: ignore[attr-defined]
  if not (devices.tpu_is_there() or plugins or chosen):
    jax.config.update('jax_platforms', 'cpu')
