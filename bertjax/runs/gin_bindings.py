"""The bindings of a run's configuration, and how those of two runs differ.

    >>> parse('SEED = 0')
    {'SEED': '0'}
    >>> differences('SEED = 0', 'SEED = 1')
    (['SEED 0 -> 1'], [])

The configuration is text in gin's syntax; nothing here imports gin.
"""

import os
import re

from bertjax.runs import layout
from bertjax.text import whole_files

FIX = 'put the file of that run back, or point to another run'

# Bindings that may differ: where the run lies, how often it reports, and how
# the hardware shares its arithmetic. Macros, then parameters.
IGNORED = re.compile(
  r'(.*/)?('
  r'RUN_DIR|SEEDS|TASKS|LOG_STEPS|EVAL_STEPS|CHECKPOINT_STEPS|KEEP_CHECKPOINTS'
  r'|ALLOW_DIFFERENCE'
  r'|MESH\w*|(\w+_)?KERNEL|PROCESSES|PROFILE\w*'
  r'|main\.run\.(init_from|following)|.*\.(run_dir|directory|dry_run|allow_difference|seeds|tasks)'
  r'|.*\.(log_steps|eval_steps|checkpoint_steps|keep|keep_every)'
  r'|.*\.(mesh|(\w+_)?kernel|process_rows|several_processes|profile\w*)'
  r'|(.*\.)?process_rows\.\w+'
  r'|(.*\.)?make_mesh\.\w+'
  r')'
)
# The length of the run may differ, and stretches the schedule.
STRETCHES = re.compile(r'(.*/)?(TRAIN_STEPS|.*\.total_steps|.*\btrain\.steps)')


def read(run_dir: str) -> str:
  """Returns the config.gin of a run, or of the fine-tuning that it is part of.

  '' if neither is there.
  """
  for folder in (run_dir, os.path.join(run_dir, '..', '..')):
    path = os.path.join(folder, layout.CONFIGURATION)
    text = whole_files.read(path, FIX)
    if text is not None:
      return text
  return ''


def parse(configuration: str) -> dict[str, str]:
  r"""Returns name -> text of the value, for macros and parameters.

      >>> parse('train/f.items = \\\n    [1,\n     2]')
      {'train/f.items': '[1, 2]'}

  Args:
    configuration: the text of `gin.config_str()`, which indents all but the
      first line of a value. Imports and comments are left out.
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
    differences such as 'LENGTH 128 -> 256' that make it another run, and those
    that only stretch the schedule.
  """
  old, new = parse(before), parse(now)
  other_run: list[str] = []
  stretched: list[str] = []
  for name in sorted({*old, *new}):
    if old.get(name) != new.get(name) and not IGNORED.fullmatch(name):
      was, is_now = (_short(x.get(name, '(unset)')) for x in (old, new))
      kind = stretched if STRETCHES.fullmatch(name) else other_run
      kind.append(f'{name} {was} -> {is_now}')
  return other_run, stretched


def _short(value: str) -> str:
  return value if len(value) <= 60 else value[:57] + '...'
