"""What the command line does before and around gin, without gin.

    >>> arguments(['--gin.SEED=1', '--gin.RUN_DIR', 'runs/x'])  # for absl
    ['--gin_bindings=SEED=1', '--gin_bindings=RUN_DIR=runs/x']
    >>> check_files(['recipes/quickstart.gin'], search_paths())

`skip_absent_tpu` hides what jax prints at start-up.
"""

import glob
import os
import re
import sys
from collections.abc import Sequence

from bertjax.errors import UserError, did_you_mean
from bertjax.interop import absent_model
from bertjax.launch import host_memory

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def search_paths() -> list[str]:
  """Returns the folders in which gin files and their includes are found.

  They belong to the installed package or else the checkout, and resolve both
  'gin_configs/recipes/x.gin' and 'recipes/x.gin'.
  """
  root = _PACKAGE
  if not os.path.isdir(os.path.join(root, 'gin_configs')):
    root = os.path.dirname(root)
  return [root, os.path.join(root, 'gin_configs')]


def check_files(files: Sequence[str], paths: Sequence[str]) -> None:
  """Raises UserError, with the nearest name, if a file is in no folder."""
  for file in files:
    if not any(os.path.isfile(os.path.join(p, file)) for p in ('', *paths)):
      known = glob.glob('gin_configs/*/*.gin', root_dir=search_paths()[0])
      raise UserError(
        f'--gin_file={file}: no such file here ({os.getcwd()}) or in '
        f'gin_configs{did_you_mean(file, known, cutoff=0.4)}'
      )


def check_model(bindings: Sequence[str]) -> None:
  """Raises UserError if MODEL is set to a folder that is not there.

  It needs neither jax nor the modules of a recipe, whose import takes seconds.

  Args:
    bindings: NAME=VALUE of the command line.
  """
  for name, _, text in (binding.partition('=') for binding in bindings):
    path = os.path.expanduser(text.strip(' \'"'))
    elsewhere = re.match(r'[@%]|\w+://', path)
    if name.strip() == 'MODEL' and not (elsewhere or os.path.isdir(path)):
      raise absent_model.refusal(path)


def arguments(argv: Sequence[str]) -> list[str]:
  """Rewrites --gin.NAME=VALUE (or --gin.NAME VALUE) as --gin_bindings.

  And all forms of --help as that one.
  """
  found = []
  words = list(argv)
  while words:
    word = words.pop(0)
    if re.match(r'--?gin\.[^=]*$', word):
      follows = words and not words[0].startswith('--')
      word = f'{word}={words.pop(0) if follows else ""}'
    word = re.sub(r'^(-h|--?help(full|short)?)$', '--help', word)
    found.append(re.sub(r'^--?gin\.', '--gin_bindings=', word))
  return found


def no_gin(word: str, argv: Sequence[str]) -> str:
  """Says that a file is no recipe: a shell makes many words of a bare glob.

  Args:
    word: of the command line; a file.
    argv: with this word, see `arguments`.
  """
  before = ' '.join(argv[: argv.index(word)])
  flag = re.search(r'--gin_bindings=(\w+)=\S*$', before)
  glob_ = os.path.join(os.path.dirname(word), f'*{os.path.splitext(word)[1]}')
  return f'{word} is no gin file; ' + (
    f"quote the glob: --gin.{flag[1]}='{glob_}'"
    if flag
    else 'a recipe is a name, see --list, or a file that ends in .gin'
  )


def show(text: str) -> int:
  """Prints an answer, also to a reader such as `head`; returns the status."""
  try:
    print(text, flush=True)
  except BrokenPipeError:
    # So that the interpreter does not complain when it flushes once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  return 0


def skip_absent_tpu() -> None:
  """Keeps jax from looking for a TPU if libtpu is installed only to compile.

  Otherwise jax prints at length that there is none.
  """
  import jax

  # jax adds this attribute at import.
  chosen = jax.config.jax_platforms  # type: ignore[attr-defined]
  if not (chosen or host_memory.has_accelerator()):
    jax.config.update('jax_platforms', 'cpu')
