"""Reads what a run left in its directory.

    run = run_reader.read('runs/books')
    run.metrics['train/loss']        # (steps, values)
    run.bindings['LEARNING_RATE']    # '0.0001'
    run.checkpoints                  # {2000: 132_120_576, ...}, bytes

A directory of fine-tuning holds a run for each task and seed; `find` returns
all of them.
"""

import dataclasses
import glob
import os
import pathlib
from collections.abc import Sequence

from bertjax.errors import UserError, expect
from bertjax.runs import (
  gin_bindings,
  layout,
  metrics_file,
  model_file,
)
from bertjax.runs.model_file import ObjectiveFacts


@dataclasses.dataclass(frozen=True)
class Run:
  """What is in a run's directory.

  Attributes:
    name: the part of the path that distinguishes it from other runs.
    directory: path of the run.
    metrics: name -> (steps, values), as in metrics.jsonl; null is nan.
    bindings: of config.gin, name -> text of the value; {} without the file.
    checkpoints: step -> bytes of its files, in the order of the steps.
    examples: step -> samples of the model, such as texts with their masks
      filled in.
    objective: what it is trained for.
  """

  name: str
  directory: str
  metrics: dict[str, tuple[list[int], list[float]]]
  bindings: dict[str, str]
  checkpoints: dict[int, int]
  examples: dict[int, list[str]]
  objective: ObjectiveFacts

  @property
  def step(self) -> int:
    """The last one that was logged; ValueError if none was."""
    return max(steps[-1] for steps, _ in self.metrics.values())

  def last(self, name: str) -> float | None:
    """Returns the last value of a metric, or None if there is none."""
    _, values = self.metrics.get(name, ([], []))
    return values[-1] if values else None


def find(directories: str | Sequence[str], macro: str = 'RUNS') -> list[Run]:
  """Returns the runs in directories.

  Args:
    directories: one or more, each of a run, a fine-tuning, or a sweep.
    macro: name of the macro that sets them, for error messages.

  Raises:
    UserError: a directory is missing, has no metrics, or is named twice.
  """
  if isinstance(directories, str):
    directories = [directories]
  expect(directories, 'a directory of a run', directories, macro)
  found = [path for folder in directories for path in _runs_in(folder, macro)]
  places = [*map(os.path.realpath, found)]
  twice = {x for x in found if places.count(os.path.realpath(x)) > 1}
  expect(not twice, 'each run once', sorted(twice), macro)
  names = _short_names(found)
  runs = [read(path, name) for path, name in zip(found, names, strict=True)]
  for run in runs:
    if not run.metrics:
      raise UserError(
        f'{run.directory} has logged nothing yet; ask again '
        f'after LOG_STEPS steps, or leave it out of {macro}'
      )
  return runs


def read(directory: str, name: str | None = None) -> Run:
  """Reads a run.

  Args:
    directory: of the run.
    name: see `Run`; None: the last part of the path.
  """
  return Run(
    name or os.path.basename(os.path.abspath(directory)),
    directory,
    metrics_file.read_metrics(directory),
    gin_bindings.parse(gin_bindings.read(directory)),
    _checkpoints(os.path.join(directory, layout.CHECKPOINTS)),
    metrics_file.read_examples(directory),
    model_file.read_objective(directory),
  )


def results(directories: str | Sequence[str]) -> list[tuple[str, list[dict]]]:
  """Returns (directory, rows of results.json) for each fine-tuning."""
  if isinstance(directories, str):
    directories = [directories]
  found = ((path, model_file.read_results(path)) for path in directories)
  return [(path, rows) for path, rows in found if rows is not None]


def _runs_in(directory: str, macro: str) -> list[str]:
  folder = pathlib.Path(directory)
  if not folder.is_dir():
    raise UserError(f'{directory} is no directory; set {macro}')
  if (folder / layout.METRICS).exists():
    return [str(folder)]
  below = [
    os.path.dirname(path)
    # A fine-tuning has its runs in TASK/seed_N, a sweep those of its stages in
    # POINT/seed_N/run or then, or as a fine-tuning below these.
    for stage in ('', 'run/', 'then/', 'run/*/seed_*/', 'then/*/seed_*/')
    for path in sorted(
      # Unlike pathlib's, it ignores what a live run removes meanwhile.
      glob.glob(f'{glob.escape(directory)}/*/seed_*/{stage}{layout.METRICS}')
    )
    if os.path.getsize(path)  # the latest of several may have just begun
  ]
  if not below:
    raise UserError(
      f'{directory} has no {layout.METRICS}, so no run has '
      f'logged there; set {macro} to the directory of a run'
    )
  return below


def _short_names(directories: Sequence[str]) -> list[str]:
  """Removes the parts that all paths share at their start and end.

  >>> _short_names(['x/a/run', 'x/b/run'])
  ['a', 'b']
  """
  parts = [os.path.abspath(path).split(os.sep) for path in directories]
  for _ in range(2):  # from the start; then reversed, from the end
    common = len(os.path.commonprefix([p[:-1] for p in parts]))
    parts = [p[common:][::-1] for p in parts]
  return ['/'.join(p) for p in parts]


def _checkpoints(folder: str) -> dict[int, int]:
  names = os.listdir(folder) if os.path.isdir(folder) else []
  return {
    step: sum(
      os.path.getsize(os.path.join(path, file))
      for path, _, files in os.walk(os.path.join(folder, str(step)))
      for file in files
    )
    for step in sorted(int(name) for name in names if name.isdecimal())
  }
