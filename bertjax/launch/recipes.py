"""Recipes by name, what each is for, and what its macros mean.

    >>> folders = command_line.search_paths()
    >>> resolve(['bert_tiny', 'quickstart'], folders)  # the recipe counts first
    ['recipes/quickstart.gin', 'models/bert_tiny.gin']

All that is said of a recipe is in its files: the comment at the top, and those
behind the macros.
"""

import difflib
import glob
import os
import re
import textwrap
from collections.abc import Sequence

from bertjax.errors import UserError, did_you_mean
from bertjax.launch import command_line, gin_files
from bertjax.launch.gin_files import REQUIRED, Macro

# What other tools call a flag -> what it is here.
_ELSEWHERE = {
  'CONFIG': 'gin_file',
  'LR': 'gin.LEARNING_RATE',
  'MAX_SEQ_LENGTH': 'gin.LENGTH',
  'MAX_STEPS': 'gin.TRAIN_STEPS',
  'MODEL_NAME_OR_PATH': 'gin.INIT_FROM',
  'NUM_EPOCHS': 'gin.EPOCHS',
  'NUM_TRAIN_EPOCHS': 'gin.EPOCHS',
  'OUTPUT_DIR': 'gin.RUN_DIR',
  'PER_DEVICE_TRAIN_BATCH_SIZE': 'gin.BATCH_SIZE',
  'TRAIN_FILE': 'gin.TEXT_FILES',
}
# Whose files need neither folder nor suffix.
_NAMED = ('recipes', 'models', 'meshes')


def names(folder: str = 'recipes') -> list[str]:
  """Returns the names of the project's own recipes, or other gin files."""
  (*_, configs) = command_line.search_paths()
  found = glob.glob('*.gin', root_dir=os.path.join(configs, folder))
  return sorted(name.removesuffix('.gin') for name in found)


def resolve(files: Sequence[str], folders: Sequence[str]) -> list[str]:
  """Returns the gin files in the order in which they count.

  The recipe counts first, wherever it is named, and later files win: a size
  before it would change nothing. It is the project's own if there is one, else
  the first file that is no part of the project's.

  Args:
    files: paths, or names such as 'quickstart' and 'bert_tiny'.
    folders: in which files are found.

  Raises:
    UserError: a file is not there, or there are two recipes.
  """
  found = [_resolve(file, folders) for file in files]
  own = tuple(f'recipes/{name}.gin' for name in names())
  chosen = [file for file in found if file.endswith(own)]
  if chosen[1:]:
    raise UserError(
      f'expected one recipe, got {" and ".join(chosen)}; the plan of a recipe '
      'is --gin_file=RECIPE --gin_file=runs/plan.gin'
    )
  (*_, configs) = command_line.search_paths()
  parts = tuple(glob.glob('*/*.gin', root_dir=configs))
  first = [*chosen, *(file for file in found if not file.endswith(parts))][:1]
  return first + [file for file in found if file not in first]


def _resolve(file: str, folders: Sequence[str]) -> str:
  if gin_files.find(file, folders):
    return file
  name = file.removesuffix('.gin')
  for folder in _NAMED:
    if gin_files.find(f'{folder}/{name}.gin', folders):
      return f'{folder}/{name}.gin'
  if name.isidentifier() and name == file:
    near = did_you_mean(name, [x for folder in _NAMED for x in names(folder)])
    raise UserError(f'there is no recipe {name}{near}; see --list')
  command_line.check_files([file], folders)
  return file


def using(macro: str) -> list[str]:
  """Returns the names of the project's own recipes that use a macro."""
  folders = command_line.search_paths()

  def users(name: str) -> dict[str, list[str]]:
    file = f'recipes/{name}.gin'
    return gin_files.read([file], folders).users()

  return [name for name in names() if macro in users(name)]


def near_flag(message: str, words: Sequence[str] = ()) -> str:
  """Returns what is meant by an unknown flag, from what absl says; '' else.

  Args:
    message: of absl.
    words: of the command line; if it names recipes, a macro of theirs is meant.
  """
  found = re.match(r"Unknown command line flag '([\w-]+)'", message)
  if not found or 'Did you mean' in message:
    return ''
  name = found[1].upper().replace('-', '_')
  folders = command_line.search_paths()
  named = [recipe for recipe in names() if recipe in words] or names()
  files = [f'recipes/{recipe}.gin' for recipe in named]
  macros = {m for x in files for m in gin_files.read([x], folders).macros}
  known = _ELSEWHERE | {macro: f'gin.{macro}' for macro in macros}
  near = difflib.get_close_matches(name, sorted(known), n=1)
  return f'; did you mean --{known[near[0]]}' if near else ''


def listing() -> str:
  """Returns a line for each recipe: its name, and what it is for."""
  (*_, configs) = command_line.search_paths()
  lines = []
  for name in names():
    header = gin_files.header(os.path.join(configs, 'recipes', f'{name}.gin'))
    sentence, *_ = re.split(r'\.(?: |$)', ' '.join(header))
    for mark in (': ', ', '):
      if len(sentence) > 80:
        sentence = sentence.split(mark)[0]
    lines.append(f'{name:20}{sentence}')
  return '\n'.join(lines)


def describe(file: str, folders: Sequence[str]) -> str:
  """Returns a recipe's comment, and its macros with defaults and meanings.

  Raises:
    UserError: it is not there, or is no gin.
  """
  (file,) = resolve([file], folders)
  path = gin_files.find(file, folders) or file
  macros = gin_files.read([file], folders).macros
  # What is required first, then the recipe's own, then those of its parts.
  order = sorted(
    macros,
    key=lambda name: (
      macros[name].value != REQUIRED,
      macros[name].file != file,
    ),
  )
  lines = [_row(name, macros[name]) for name in order]
  title = ['', 'Macros, set by --gin.NAME=VALUE:', ''] if lines else []
  return '\n'.join([*gin_files.header(path), *title, *lines])


def _row(name: str, macro: Macro) -> str:
  value = macro.value if isinstance(macro.value, str) else repr(macro.value)
  left = f'{name} (required)' if value == REQUIRED else f'{name}={value}'
  return (
    textwrap.fill(
      macro.meaning,
      width=80,
      initial_indent=f'  {left:31} ',
      subsequent_indent=' ' * 34,
      break_long_words=False,
    )
    or f'  {left}'
  )
