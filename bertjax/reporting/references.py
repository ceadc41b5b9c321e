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
import math
import os
import platform
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.reporting import run_reader
from bertjax.reporting.run_reader import Run
from bertjax.runs import gin_bindings, model_file, output_files

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'references')

# A run and its reference agree in these: text or task, and size of the model.
_IDENTITY = re.compile(
  r'TEXT_FILES|finetune\.fine_tune\.data_sets'
  r'|config\.EncoderConfig\.(layers|width|heads|feed_forward)'
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
    seconds: duration of each run without start-up.
    machine: processor and cores that the runs had.
    python: version of Python, whose documentation is the quickstart's text.
    objective: its name.
    computation: of the model, see `model_file.read_computation`.
    bindings: of the runs' configuration, name -> text of the value.
    curves: metric -> (steps, values[seed, step]).
  """

  name: str
  seeds: list[str]
  seconds: list[float]
  machine: str
  python: str
  objective: str
  computation: dict[str, Any]
  bindings: dict[str, str]
  curves: dict[str, tuple[np.ndarray, np.ndarray]]

  def values(self, metric: str, step: int) -> np.ndarray | None:
    """Returns each run's value at a step, interpolated: float[seeds].

    None if the runs lack the metric or the step is outside their range.
    """
    if metric not in self.curves:
      return None
    steps, values = self.curves[metric]
    if not len(steps) or not steps[0] <= step <= steps[-1]:
      return None
    return np.array([np.interp(step, steps, v) for v in values])

  def band(self, metric: str, step: int) -> tuple[float, float] | None:
    """Returns the least and the greatest value of the runs around a step.

    None as in `values`.
    """
    now = self.values(metric, step)
    if now is None:
      return None
    steps, values = self.curves[metric]
    near = (steps >= step / _TIME) & (steps <= step * _TIME)
    around = np.concatenate([now, values[:, near].ravel()])
    return float(around.min()), float(around.max())


def names() -> list[str]:
  """Returns the names of the shipped references."""
  return sorted(
    name.removesuffix('.json')
    for name in os.listdir(FOLDER)
    if name.endswith('.json')
  )


def find(run: Run, reference: str | None = None) -> Reference:
  """Returns the reference to compare a run with.

  Args:
    run: see `run_reader`.
    reference: one of `names()`, or a file written by `make`; None: the shipped
      one with the same text or task and size of model.

  Raises:
    UserError: there is none, or it is of another objective or computation.
  """
  if reference is not None:
    return _checked(run, read(reference))
  ours = _identity(run.bindings)
  for name in names():
    found = read(name)
    if ours and _identity(found.bindings) == ours:
      return _checked(run, found)
  raise UserError(
    f'{run.directory} has no reference: its text or the size of its model is '
    f'not that of {" or ".join(names())}; set REFERENCE to one of these, or '
    'to a file that recipes/reference.gin makes of healthy runs'
  )


def _checked(run: Run, reference: Reference) -> Reference:
  """Returns the reference if its curves are comparable with the run's."""
  ours = {
    'objective': run.objective.name,
    **model_file.read_computation(run.directory),
  }
  # What was no field yet when the reference was made had its default.
  theirs = {
    **model_file.default_computation(),
    **reference.computation,
    'objective': reference.objective,
  }
  for name, value in ours.items():
    # As JSON, in which there are no tuples.
    if name in theirs and json.dumps(value) != json.dumps(theirs[name]):
      raise UserError(
        f'{run.directory} has the {name} {value!r} and the reference '
        f'{reference.name} {theirs[name]!r}, which cannot be compared; set '
        'REFERENCE to another, or to a file that recipes/reference.gin makes'
      )
  return reference


def read(reference: str) -> Reference:
  """Reads a reference by name or path.

  Raises:
    UserError: the file is missing or no reference.
  """
  path = os.path.join(FOLDER, f'{reference}.json')
  if not os.path.exists(path):
    path = str(reference)
  try:
    with open(path, encoding='utf-8') as file:
      content = json.load(file)
    content['curves'] = {
      metric: (np.array(curve['steps']), np.array(curve['values']))
      for metric, curve in content['curves'].items()
    }
    return Reference(os.path.basename(path).removesuffix('.json'), **content)
  except OSError as error:
    raise UserError(
      f'there is no reference {reference}; set REFERENCE to one of '
      f'{", ".join(names())}, or to a file'
    ) from error
  except (AttributeError, ValueError, KeyError, TypeError) as error:
    raise UserError(
      f'{path} is no reference ({error}); make one with recipes/reference.gin'
    ) from error


def make(
  *, runs: str | Sequence[str], output: str, dry_run: bool = False
) -> None:
  """Writes the curves of healthy runs as a reference.

  Args:
    runs: directories of three or more runs that differ only in their seeds; a
      directory of fine-tuning holds several.
    output: the file to write.
    dry_run: check everything and write nothing.

  Raises:
    UserError: the runs differ in more, are too few, or logged at other steps.
  """
  output_files.check_folder(output)
  found = run_reader.find(runs)
  if len(found) < 3:
    raise UserError(
      f'a reference needs 3 runs or more, to know the usual spread; '
      f'got {len(found)}: set RUNS'
    )
  if len({_seed(run) for run in found}) < len(found):
    raise UserError(
      'a reference needs runs of different seeds, got '
      f'{", ".join(map(_seed, found))}; set RUNS'
    )
  bindings = _comparable(found[0].bindings)
  for run in found[1:]:
    if differing := different(bindings, _comparable(run.bindings)):
      raise UserError(
        f'{found[0].directory} and {run.directory} differ in more than their '
        f'seed: {"; ".join(differing)}; set RUNS to others'
      )
  curves = {}
  for metric, (steps, _) in found[0].metrics.items():
    if metric.startswith('speed/') and metric != 'speed/data_wait_fraction':
      continue
    if any(run.metrics.get(metric, ([], []))[0] != steps for run in found):
      raise UserError(
        f'{metric} was not logged at the same steps in all runs; '
        'set RUNS to finished runs with the same LOG_STEPS'
      )
    if not all(
      math.isfinite(value) for run in found for value in run.metrics[metric][1]
    ):
      raise UserError(
        f'{metric} is not finite in every run; set RUNS to healthy ones'
      )
    curves[metric] = {
      'steps': steps,
      'values': [
        [_rounded(value) for value in run.metrics[metric][1]] for run in found
      ],
    }
  content = {
    'seeds': [_seed(run) for run in found],
    'seconds': [round(_seconds(run), 1) for run in found],
    'machine': f'{platform.machine()}, {os.cpu_count()} CPU cores',
    'python': _python(),
    'objective': found[0].objective.name,
    'computation': model_file.read_computation(found[0].directory),
    'bindings': bindings,
    'curves': curves,
  }
  if dry_run:
    return
  # One line per curve: small, and a diff shows which curve changed.
  text = re.sub(r'\n {4,}|\n {3}(?=\])', ' ', json.dumps(content, indent=1))
  output_files.write_text(output, f'{text}\n')
  print(f'{len(curves)} curves of {len(found)} runs in {output}')


def different(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
  """Returns the differences of two configurations.

      >>> different({'LENGTH': '128', 'SEED': '0'}, {'LENGTH': '256'})
      ['LENGTH 128 -> 256']

  SEED and whatever `gin_bindings.IGNORED` matches may differ.
  """
  ours, theirs = _comparable(ours), _comparable(theirs)
  return [
    f'{name} {ours.get(name, "(unset)")} -> {theirs.get(name, "(unset)")}'
    for name in sorted({*ours, *theirs})
    if ours.get(name) != theirs.get(name)
  ]


def told_python(reference: Reference) -> str | None:
  """Returns a warning if the run's text differs from the reference's.

  The quickstart's text is the documentation of the Python that runs it.
  """
  if reference.bindings.get('TEXT_FILES') != "'python_documentation'" or (
    reference.python == _python()
  ):
    return None
  return (
    f'this is Python {_python()}, the reference of {reference.python}: '
    'another text'
  )


def _python() -> str:
  return '.'.join(platform.python_version_tuple()[:2])


def _seed(run: Run) -> str:
  return run.bindings.get('SEED', run.name.rpartition('seed_')[2])


def _comparable(bindings: dict[str, str]) -> dict[str, str]:
  return {
    name: value
    for name, value in bindings.items()
    if name != 'SEED' and not gin_bindings.IGNORED.fullmatch(name)
  }


def _identity(bindings: dict[str, str]) -> dict[str, str]:
  return {
    name: value for name, value in bindings.items() if _IDENTITY.fullmatch(name)
  }


def _seconds(run: Run) -> float:
  """Returns the duration of training, evaluation and saving.

  The metrics do not contain start-up.
  """
  total, before = 0.0, 0
  metrics = {
    name.removeprefix('speed/'): dict(zip(*curve, strict=True))
    for name, curve in run.metrics.items()
    if name.startswith('speed/')
  }
  lost = [
    curve
    for name, curve in metrics.items()
    if name in ('evaluation_fraction', 'checkpoint_fraction')
  ]
  for step, seconds in metrics.get('step_seconds', {}).items():
    share = sum(curve.get(step, 0.0) for curve in lost)
    total += (step - before) * seconds / (1 - share)
    before = step
  return total


def _rounded(value: float) -> float:
  return float(f'{value:.{_DIGITS}g}')
