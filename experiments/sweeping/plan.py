"""The runs of a sweep before they start: commands, missing files, time, disk.

Reads gin files as text, so it needs neither gin nor TensorFlow; but with them
it can check the values as well.
"""

import ast
import dataclasses
import difflib
import glob
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.launch import command_line
from experiments.sweeping.spec import (
  Minutes,
  Point,
  Range,
  Stage,
  Sweep,
  is_file,
  name_of,
)

_PATHS = re.compile(r'(_FILES?|_DIR|_FROM)$')
_NOT_PATHS = re.compile(r'tfds:.*|python_documentation|\w+://.*')


@dataclasses.dataclass(frozen=True)
class Run:
  """One point with one seed.

  Attributes:
    sweep: the sweep that it belongs to.
    point: macro -> value.
    folder: for all files of the run.
  """

  sweep: Sweep
  point: Point
  seed: int
  folder: str

  @property
  def name(self) -> str:
    """The path below the sweep's folder: 'MASK_RATE=0.3,NSP=True/seed_0'."""
    return os.path.join(*self.folder.split(os.sep)[-2:])

  def stages(self) -> list[tuple[Stage, str]]:
    """Returns the stages with the RUN_DIR of each."""
    sweep = self.sweep
    first = Stage(sweep.files, sweep.bindings, sweep.metric)
    run_dir = os.path.join(self.folder, 'run')
    files = [value for value in self.point.values() if is_file(value)]
    macros = {k: v for k, v in self.point.items() if not is_file(v)}
    first = dataclasses.replace(
      first, files=(*first.files, *files), bindings={**first.bindings, **macros}
    )
    if not sweep.then:
      return [(first, run_dir)]
    then = dataclasses.replace(
      sweep.then, bindings={**sweep.then.bindings, 'INIT_FROM': run_dir}
    )
    return [(first, run_dir), (then, os.path.join(self.folder, 'then'))]

  def command(self, stage: Stage, run_dir: str, **changed: Any) -> list[str]:
    """Returns the command of a stage."""
    seed = {'SEED': self.seed}
    if 'SEEDS' in macros_of(stage.files):
      seed = {'SEEDS': (self.seed,)}
    bindings = {**stage.bindings, **seed, **changed, 'RUN_DIR': run_dir}
    return [
      *self.sweep.program,
      *(f'--gin_file={file}' for file in stage.files),
      *(f'--gin.{name}={_expand(value)!r}' for name, value in bindings.items()),
    ]


def runs_of(sweep: Sweep, output: str) -> list[Run]:
  """Returns the runs of a grid or list; those of a search are not known yet."""
  return [
    run_at(sweep, output, point, seed)
    for point in sweep.all_points()
    for seed in sweep.seeds
  ]


def run_at(sweep: Sweep, output: str, point: Point, seed: int) -> Run:
  """Returns the run of a point."""
  return Run(
    sweep,
    point,
    seed,
    os.path.join(os.path.abspath(output), name_of(point), f'seed_{seed}'),
  )


def check(sweep: Sweep) -> None:
  """Raises UserError for a macro or a gin file that does not exist."""
  points = sweep.all_points() or [_any_point(sweep)]
  for point in points:
    for stage, _ in run_at(sweep, '', point, 0).stages():
      known = macros_of(stage.files)
      for name in (*stage.bindings, 'RUN_DIR'):
        if name not in known and '.' not in name:  # gin checks parameters
          near = difflib.get_close_matches(name, known, n=1)
          raise UserError(
            f'{" ".join(stage.files)} has no macro {name}; '
            + (
              f'did you mean {near[0]}?'
              if near
              else f'it has {", ".join(sorted(known))}'
            )
          )


def check_values(sweep: Sweep, output: str) -> None:
  """Raises UserError for what `bertjax.main` would refuse in some run.

  Of a search, the ends of each range and all choices are tried. Checks nothing
  where the packages that the recipes need are not installed. Clears gin's
  configuration in this process.
  """
  try:
    import gin

    from bertjax.launch import configuration
  except ImportError:
    return
  points = sweep.all_points() or [
    _any_point(sweep) | {name: value}
    for name, values in sweep.search.space.items()
    for value in (
      (values.low, values.high) if isinstance(values, Range) else values
    )
  ]
  runs = [run_at(sweep, output, x, sweep.seeds[0]) for x in points]
  try:
    for run, (stage, run_dir) in ((x, y) for x in runs for y in x.stages()):
      steps = stage.bindings.get('TRAIN_STEPS')
      measured = {'TRAIN_STEPS': 1} if isinstance(steps, Minutes) else {}
      flags = run.command(stage, run_dir, **measured)
      start = '--gin.'
      bindings = [x.removeprefix(start) for x in flags if x.startswith(start)]
      try:
        configuration.parse(stage.files, bindings)
      except UserError as error:
        if not isinstance(error.__cause__, ImportError):
          raise UserError(f'{run.name}: {error}') from error
  finally:
    gin.clear_config()


def _any_point(sweep: Sweep) -> Point:
  return {
    name: values.low if isinstance(values, Range) else values[0]
    for name, values in sweep.search.space.items()
  }


def missing(sweep: Sweep) -> list[str]:
  """Returns a line for each thing that the runs need and lack."""
  lines = []
  for point in sweep.all_points() or [_any_point(sweep)]:
    for stage, _ in run_at(sweep, '', point, 0).stages():
      given = {**macros_of(stage.files), **stage.bindings, 'RUN_DIR': ''}
      for name, value in given.items():
        if value == '%gin.REQUIRED':
          lines.append(f'{name} has no value; set it in the bindings of SWEEP')
        elif (
          name == 'INIT_FROM'
          and not sweep.then
          or (
            name != 'INIT_FROM'
            and _PATHS.search(name)
            and name in stage.bindings
          )
        ):
          if name not in stage.bindings:  # what the recipe starts from
            value = _literal(value)
          lines += [f'{name}: {line}' for line in _not_there(value)]
  return list(dict.fromkeys(lines))


def _literal(text: str):
  """Returns the value of a macro's text; None if gin computes it."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return None


def _not_there(value) -> list[str]:
  lines = []
  for path in [value] if isinstance(value, str) else value or ():
    expanded = os.path.expanduser(_expand(path))
    unset = re.findall(r'\$\{?(\w+)', expanded)
    if unset:
      lines.append(f'the environment variable {unset[0]} is not set')
    elif not _NOT_PATHS.fullmatch(expanded) and not glob.glob(expanded):
      lines.append(f'{expanded} is not there')
  return lines


def _expand(value):
  """Expands environment variables in strings."""
  if isinstance(value, str):
    return os.path.expandvars(value)
  if isinstance(value, list | tuple):
    return type(value)(_expand(part) for part in value)
  return value


def macros_of(files: Sequence[str]) -> dict[str, str]:
  """Returns macro -> text of its value, of gin files and those they include.

  Later files win.

  Raises:
    UserError: a file is missing.
  """
  found = {}
  for file in files:
    with open(_find(file), encoding='utf-8') as opened:
      text = opened.read()
    for include, name, value in re.findall(
      r"""^(?:include ['"](.*?)['"]|([A-Z][A-Z_0-9]*) = ([^#\n]*))""",
      text,
      re.M,
    ):
      if include:
        found.update(macros_of([include]))
      else:
        found[name] = value.strip()
  return found


def _find(file: str) -> str:
  """Returns the path of a gin file, or of a name such as 'bert_tiny'."""
  named = [f'{folder}/{file}.gin' for folder in ('recipes', 'models', 'meshes')]
  for folder in ('', *command_line.search_paths()):
    for name in (file, *named):
      path = os.path.join(folder, name)
      if os.path.isfile(path):
        return path
  raise UserError(f'there is no gin file {file}; mend the files of SWEEP')


def estimate(sweep: Sweep, finished: Sequence[Mapping], left: int) -> list[str]:
  """Returns lines on the time and disk space of a run and of all runs left.

  Args:
    sweep: gives `minutes`, or those of its `Minutes`, and `megabytes`.
    finished: results of runs, with `seconds` and `bytes`; used instead if any.
    left: how many runs are not done.
  """
  done = [row for row in finished if row['status'] == 'done']
  steps = sweep.bindings.get('TRAIN_STEPS')
  minutes, megabytes = sweep.minutes, sweep.megabytes
  if minutes is None and isinstance(steps, Minutes):
    minutes = steps.minutes
  if done:
    minutes = sum(row['seconds'] for row in done) / len(done) / 60
    megabytes = sum(row['bytes'] for row in done) / len(done) / 1e6
  return [
    f'{what}: not known; set {name} in SWEEP, or see after the first run'
    if one is None
    else f'{what}: {one:,.1f} {name} a run, {one * left:,.0f} for {left} left'
    for what, name, one in (
      ('time', 'minutes', minutes),
      ('disk', 'megabytes', megabytes),
    )
  ]
