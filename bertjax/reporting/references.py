"""Curves of healthy runs, kept as small JSON files to compare others with.

    >>> 'quickstart' in names()  # those that are shipped
    True
    >>> reference = read('quickstart')
    >>> low, high = reference.band('train/loss', step=300)
    >>> low < high
    True

`find` chooses the reference of a run, and `make` writes one of your own.
"""

import dataclasses
import json
import os
import pathlib
import platform
import re
import sysconfig
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bertjax.errors import UserError
from bertjax.reporting import run_reader
from bertjax.reporting.run_reader import Run
from bertjax.runs import differences, gin_bindings, model_file, output_files
from bertjax.values import Path, Paths, check, checked

FOLDER = pathlib.Path(__file__).with_name('references')

# A run and its reference agree in these: text or task, and size of the model.
_SIZES = ('layers', 'width', 'heads', 'feed_forward')
_IDENTITY = (
  'TEXT_FILES',
  'finetune.fine_tune.data_sets',
  *(f'config.EncoderConfig.{name}' for name in _SIZES),
)
# Factor by which a healthy run may be ahead of the others, or behind.
_TIME = 1.25
_DIGITS = 5


@dataclasses.dataclass(frozen=True)
class Reference:
  """Curves of runs that differ only in their seeds.

  Attributes:
    name: of the file, without '.json'.
    seeds: one per run.
    machine: processor and cores that the runs had.
    python: version of Python, whose documentation is the quickstart's text.
    objective: its name.
    computation: of the model, see `model_file.read_computation`.
    bindings: of the runs' configuration, name -> text of the value.
    curves: metric -> (steps, values[seed, step]).
  """

  name: str
  seeds: list[str]
  machine: str
  python: str
  objective: str
  computation: dict[str, Any]
  bindings: dict[str, str]
  curves: dict[str, tuple[np.ndarray, np.ndarray]]

  def values(self, metric: str, steps: ArrayLike) -> np.ndarray:
    """Returns each run's values at n steps, interpolated: float[seeds, n].

    nan outside the range of the runs' steps.
    """
    known, values = self.curves[metric]
    steps = np.asarray(steps)
    return np.array(
      [np.interp(steps, known, v, np.nan, np.nan) for v in values]
    )

  def band(
    self, metric: str, step: float, since: float | None = None
  ) -> tuple[float, float]:
    """Returns the least and the greatest value of the runs around a step.

    Or from around `since` on, which is before it.
    """
    since = step if since is None else since
    steps, values = self.curves[metric]
    near = (steps >= since / _TIME) & (steps <= step * _TIME)
    around = np.append(self.values(metric, [since, step]), values[:, near])
    return float(around.min()), float(around.max())


def names() -> list[str]:
  """Returns the names of the shipped references."""
  return sorted(path.stem for path in pathlib.Path(FOLDER).glob('*.json'))


def find(run: Run, reference: str | None = None) -> Reference:
  """Returns the reference to compare a run with.

  Args:
    run: see `run_reader`.
    reference: one of `names()`, or a file written by `make`; None: the shipped
      one with the same text or task and size of model.

  Raises:
    UserError: there is none, or it is of another objective or computation.
  """
  if reference is None:
    identity = _identity(run.bindings)
    fitting = (x for x in names() if _identity(read(x).bindings) == identity)
    reference = next(fitting, None)
  if reference is None:
    raise UserError(
      f'{run.directory} has no reference: its text or the size of its model is '
      f'not that of {" or ".join(names())}; set REFERENCE to one of these, or '
      'to a file that recipes/reference.gin makes of healthy runs'
    )
  found = read(reference)
  ours = {'objective': run.objective.name}
  ours |= model_file.read_computation(run.directory)
  # What was no field yet when the reference was made had its default.
  theirs = model_file.default_computation() | found.computation
  theirs['objective'] = found.objective
  for name, value in ours.items():
    # As JSON, in which there are no tuples.
    if name in theirs and json.dumps(value) != json.dumps(theirs[name]):
      raise UserError(
        f'{run.directory} has the {name} {value!r} and the reference '
        f'{found.name} {theirs[name]!r}, which cannot be compared; set '
        'REFERENCE to another, or to a file that recipes/reference.gin makes'
      )
  return found


def read(reference: str) -> Reference:
  """Reads a reference by name or path.

  Raises:
    UserError: the file is missing or no reference.
  """
  path = pathlib.Path(FOLDER, f'{reference}.json')
  if not path.exists():
    path = pathlib.Path(str(reference))
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
    content['curves'] = {
      metric: _curve(**curve) for metric, curve in content['curves'].items()
    }
    check(Reference, content)
    return Reference(path.stem, **content)
  except OSError as error:
    raise UserError(
      f'there is no reference {reference}; set REFERENCE to one of '
      f'{", ".join(names())}, or to a file'
    ) from error
  except (
    AttributeError,
    ValueError,
    KeyError,
    TypeError,
    RecursionError,
  ) as error:
    raise UserError(
      f'{path} is no reference ({error}); make one with recipes/reference.gin'
    ) from error


def _curve(steps: list[int], values: list[list[float]]) -> Any:
  """Returns steps and values[seed, step]; ValueError if they do not fit."""
  found = np.array(steps), np.array(values, float)
  if found[0].dtype.kind != 'i' or found[1].shape[1:] != found[0].shape:
    raise ValueError('a curve has not as many values as steps')
  return found


@checked
def make(
  *,
  runs: Paths,
  output: Path,
  overwrite: bool = False,
  dry_run: bool = False,
) -> None:
  """Writes the curves of healthy runs as a reference.

  Args:
    runs: directories of three or more runs that differ only in their seeds; a
      directory of fine-tuning holds several.
    output: the file to write, in .json.
    overwrite: whether to replace a file that is there.
    dry_run: check everything and write nothing.

  Raises:
    UserError: the runs differ in more, are too few, or logged at other steps.
  """
  output_files.check_output(output, ('.json',), overwrite=overwrite)
  found = run_reader.find(runs)
  seeds = [_seed(run) for run in found]
  if len(set(seeds)) < max(3, len(seeds)):
    raise UserError(
      'a reference needs 3 runs or more of different seeds, to know the usual '
      f'spread; got {", ".join(seeds)}: set RUNS'
    )
  first = found[0]
  for run in found[1:]:
    if differing := different(first.bindings, run.bindings):
      raise UserError(
        f'{first.directory} and {run.directory} differ in more than their '
        f'seed: {"; ".join(differing)}; set RUNS to others'
      )
  curves = {}
  for metric, (steps, _) in first.metrics.items():
    if metric.startswith('speed/') and metric != 'speed/data_wait_fraction':
      continue
    if any(run.metrics.get(metric, ([], []))[0] != steps for run in found):
      raise UserError(
        f'{metric} was not logged at the same steps in all runs; '
        'set RUNS to finished runs with the same LOG_STEPS'
      )
    values = [run.metrics[metric][1] for run in found]
    if not np.isfinite(values).all():
      raise UserError(
        f'{metric} is not finite in every run; set RUNS to healthy ones'
      )
    rounded = [[float(f'{x:.{_DIGITS}g}') for x in curve] for curve in values]
    curves[metric] = {'steps': steps, 'values': rounded}
  content = {
    'seeds': seeds,
    'machine': f'{platform.machine()}, {os.cpu_count()} CPU cores',
    'python': sysconfig.get_python_version(),
    'objective': first.objective.name,
    'computation': model_file.read_computation(first.directory),
    'bindings': _comparable(first.bindings),
    'curves': curves,
  }
  if dry_run:
    return
  # One line per curve: small, and a diff shows which curve changed.
  text = re.sub(r'\n {4,}|\n {3}(?=\])', ' ', json.dumps(content, indent=1))
  output_files.write_text(output, f'{text}\n')
  print(f'{len(curves)} curves of {len(found)} runs in {output}')


def different(theirs: dict[str, str], ours: dict[str, str]) -> list[str]:
  """Returns the differences of two configurations.

      >>> different({'LENGTH': '128', 'SEED': '0'}, {'LENGTH': '256'})
      ['LENGTH is 128 there and 256 here']

  SEED and whatever `gin_bindings.IGNORED` matches may differ.
  """
  return differences.between(_comparable(theirs), _comparable(ours))


def _seed(run: Run) -> str:
  return run.bindings.get('SEED', run.name.rpartition('seed_')[2])


def _comparable(bindings: dict[str, str]) -> dict[str, str]:
  return {
    name: value
    for name, value in bindings.items()
    if name != 'SEED' and not gin_bindings.IGNORED.fullmatch(name)
  }


def _identity(bindings: dict[str, str]) -> list[str | None]:
  return [bindings.get(name) for name in _IDENTITY]
