"""What a run left in its directory, read back.

    run = runs.read('runs/books')
    run.metrics['eval/mlm_loss']     # (steps, values)
    run.bindings['LEARNING_RATE']    # '0.0001'
    run.checkpoints                  # [Checkpoint(step=2000, ...), ...]

A directory of fine-tuning holds a run for each task and seed; `find` gives all
of them. Source: ours.
"""

import dataclasses
import glob
import json
import os
from collections.abc import Sequence

from bertjax.errors import UserError
from bertjax.runs import (
  filled_masks,
  gin_bindings,
  layout,
  metrics_file,
)


@dataclasses.dataclass(frozen=True)
class SavedCheckpoint:
  """A saved state.

  Attributes:
    step: updates made.
    size_bytes: of its files.
  """

  step: int
  size_bytes: int


@dataclasses.dataclass(frozen=True)
class Run:
  """What is in a run's directory.

  Attributes:
    name: the part of its path that tells it from the others.
    directory: where it lies.
    metrics: name -> (steps, values), as in metrics.jsonl; null is nan.
    bindings: of its config.gin, name -> value as text; {} without the file.
    checkpoints: by step.
    examples: step -> held-out texts, their masks filled in.
  """

  name: str
  directory: str
  metrics: dict[str, tuple[list[int], list[float]]]
  bindings: dict[str, str]
  checkpoints: list[SavedCheckpoint]
  examples: dict[int, list[str]]

  def last(self, name: str) -> float | None:
    """Returns the last value of a metric; None where there is none."""
    _, values = self.metrics.get(name, ((), ()))
    return values[-1] if values else None


def find(directories: str | Sequence[str], macro: str = 'RUNS') -> list[Run]:
  """Returns the runs in directories: one each, or all of a fine-tuning, or of
  a sweep.

  Args:
    directories: one or several.
    macro: that they were given in, for the errors.

  Raises:
    UserError: a directory that is not there or has no metrics.
  """
  if isinstance(directories, str):
    directories = [directories]
  if not directories:
    raise UserError(f'expected a directory of a run, got none; set {macro}')
  found = []
  for directory in directories:
    found += _runs_in(os.path.normpath(directory), macro)
  names = _short_names(found)
  runs = [read(path, name) for path, name in zip(found, names, strict=True)]
  for run in runs:
    if not run.metrics:
      raise UserError(
        f'{run.directory} has logged nothing yet; ask again when '
        f'it has made LOG_STEPS, or leave it out of {macro}'
      )
  return runs


def read(directory: str, name: str | None = None) -> Run:
  """Returns what a run left; see `Run`."""
  path = layout.configuration_of(directory)
  bindings = {}
  if os.path.exists(path):
    with open(path, encoding='utf-8') as file:
      bindings = gin_bindings.parse(file.read())
  return Run(
    name or os.path.basename(os.path.abspath(directory)),
    directory,
    metrics_file.read_metrics(directory),
    bindings,
    _checkpoints(os.path.join(directory, layout.CHECKPOINTS)),
    filled_masks.read(directory),
  )


def results(directories: str | Sequence[str]) -> list[tuple[str, list[dict]]]:
  """Returns (directory, rows of results.json) of each fine-tuning."""
  if isinstance(directories, str):
    directories = [directories]
  found = []
  for directory in directories:
    path = os.path.join(directory, layout.RESULTS)
    if os.path.exists(path):
      with open(path, encoding='utf-8') as file:
        found.append((directory, json.load(file)['tasks']))
  return found


# Where the runs of a fine-tuning lie, and those of a sweep with its stages.
_BELOW = (
  '*/seed_*',
  '*/seed_*/run',
  '*/seed_*/run/*/seed_*',
  '*/seed_*/then',
  '*/seed_*/then/*/seed_*',
)


def _runs_in(directory: str, macro: str) -> list[str]:
  if not os.path.isdir(directory):
    raise UserError(f'{directory} is no directory; set {macro}')
  if os.path.exists(os.path.join(directory, layout.METRICS)):
    return [directory]
  below = [
    path
    for kind in _BELOW
    for path in sorted(
      glob.glob(os.path.join(glob.escape(directory), kind, layout.METRICS))
    )
    if os.path.getsize(path)
  ]  # a run of several may have just begun
  if not below:
    raise UserError(
      f'{directory} has no {layout.METRICS}, so no run has '
      f'logged there; set {macro} to that of a run'
    )
  return [os.path.dirname(path) for path in below]


def _short_names(directories: Sequence[str]) -> list[str]:
  """Cuts off what all have in common: ['x/a/run', 'x/b/run'] to ['a', 'b']."""
  parts = [os.path.abspath(path).split(os.sep) for path in directories]
  for _ in range(2):  # from the front; backwards, from the end
    common = len(os.path.commonprefix([p[:-1] for p in parts]))
    parts = [p[common:][::-1] for p in parts]
  return ['/'.join(p) for p in parts]


def _checkpoints(folder: str) -> list[SavedCheckpoint]:
  names = os.listdir(folder) if os.path.isdir(folder) else []
  steps = sorted(int(name) for name in names if name.isdecimal())
  return [
    SavedCheckpoint(
      step,
      sum(
        os.path.getsize(os.path.join(path, file))
        for path, _, files in os.walk(os.path.join(folder, str(step)))
        for file in files
      ),
    )
    for step in steps
  ]
