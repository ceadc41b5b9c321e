"""What a sweep is: a question as data.

Sweep(files=('recipes/pretrain_text.gin',),
      bindings={'TEXT_FILES': '$DATA/a.txt', 'TRAIN_STEPS': Minutes(3)},
      grid={'MASK_RATE': (0.15, 0.3), 'NSP': (True, False)},
      seeds=(0, 1), metric='eval/mlm_loss')
"""

import dataclasses
import itertools
import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.values import (
  Count,
  Name,
  Path,
  Place,
  Positive,
  Seed,
  check_fields,
)

Point = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Minutes:
  """As TRAIN_STEPS: as many steps as fit this time, measured by a short run."""

  minutes: Positive

  def __post_init__(self):
    check_fields(self)


@dataclasses.dataclass(frozen=True)
class Range:
  """A range of a search, with both ends; whole numbers if both ends are."""

  low: float
  high: float
  logarithmic: bool = False

  def __post_init__(self):
    check_fields(self)
    ordered = -math.inf < self.low <= self.high < math.inf  # nor NaN
    if not ordered or (self.logarithmic and self.low <= 0):
      raise UserError(
        f'{self}: expected finite low <= high, and low > 0 where it is '
        'logarithmic'
      )


@dataclasses.dataclass(frozen=True)
class Search:
  """Points that Optuna chooses (TPE), instead of a grid.

  Attributes:
    space: macro -> `Range`, or a tuple to choose from.
    trials: how many points.
    prune: whether to end a run of the first seed that is worse than the median
      of earlier ones at the same step; ignored if a second stage follows.
    storage: URL of a database, which several machines may use, or path of a
      journal, which they may share by NFS (and in which the trial of a lost
      machine is not retried); None: SQLite in the sweep's folder.
  """

  space: Mapping[str, Range | Sequence[Any]]
  trials: Count
  prune: bool = True
  storage: Place | None = None

  def __post_init__(self):
    check_fields(self)
    if not self.space:
      raise UserError('expected macros to search, got none; set Search.space')


@dataclasses.dataclass(frozen=True)
class Stage:
  """What follows a run, with that run's folder as INIT_FROM.

  Attributes:
    files: gin files, later ones win.
    bindings: macro -> value.
    metric: 'eval/mlm_loss' of a pretraining run, 'SST-2/accuracy' of a task.
  """

  files: Sequence[Path]
  bindings: Mapping[str, Any]
  metric: Name

  def __post_init__(self):
    check_fields(self)


@dataclasses.dataclass(frozen=True)
class Sweep:
  """Runs that differ in a few macros, or gin files.

  Attributes:
    files: gin files of every run, as `--gin_file` takes them; later ones win.
    bindings: macro -> value for every run. `$NAME` in a string stands for an
      environment variable.
    grid: macro (or module.function.parameter) -> values, of which all
      combinations are run; a value that ends with '.gin' is one more file, and
      its key any name. Set one of grid, points and search.
    points: the values of each run.
    search: see `Search`.
    seeds: each point is run with each of them.
    metric: see `Stage`.
    higher_is_better: whether a higher metric is better.
    then: a stage after each run.
    minutes: roughly what a run takes, for the plan; None: unknown.
    megabytes: roughly what a run writes, for the plan; None: unknown.
    program: the command to run, before the flags of `bertjax.main`.
  """

  files: Sequence[Path]
  bindings: Mapping[str, Any]
  metric: Name
  grid: Mapping[str, Sequence[Any]] | None = None
  points: Sequence[Point] | None = None
  search: Search | None = None
  seeds: Sequence[Seed] = (0,)
  higher_is_better: bool = False
  then: Stage | None = None
  minutes: Positive | None = None
  megabytes: Positive | None = None
  program: Sequence[Path] = (sys.executable, '-m', 'bertjax.main')

  def __post_init__(self):
    check_fields(self)
    for stage in (self, self.then) if self.then else (self,):
      _check_values('files', stage.files)
    for name, values in (self.grid or {}).items():
      _check_values(f'{name} of the grid', values)
    for name, values in (self.search.space if self.search else {}).items():
      if not isinstance(values, Range):
        _check_values(f'{name} of the space', values)
    _check_values('seeds', self.seeds)
    if len(set(self.seeds)) < len(self.seeds):
      raise UserError(
        f'two runs would share a folder: seeds are {self.seeds}; name each once'
      )
    then = self.then.bindings if self.then else {}
    for name in (
      {*self.bindings, *self.axes(), *then} & {'SEED', 'SEEDS', 'RUN_DIR'}
    ) | ({*then} & {'INIT_FROM'}):
      raise UserError(
        f'{name} is set by the sweep; take it out of SWEEP, and '
        'set its seeds, or --output'
      )

  @property
  def metrics(self) -> list[str]:
    """The metric of each stage."""
    if not self.then:
      return [self.metric]
    same = self.then.metric == self.metric
    return [self.metric, f'then/{self.metric}' if same else self.then.metric]

  def identity(self) -> dict[str, Any]:
    """Returns as JSON what all results in one folder share."""
    first, *then = [
      {
        'files': list(stage.files),
        'bindings': {k: repr(v) for k, v in stage.bindings.items()},
      }
      for stage in ((self, self.then) if self.then else (self,))
    ]
    return {**first, 'then': then, 'metrics': self.metrics}

  def axes(self) -> list[str]:
    """Returns what differs between the runs, except the seed."""
    if self.search:
      return list(self.search.space)
    return list(
      dict.fromkeys(name for point in self.all_points() for name in point)
    )

  def all_points(self) -> list[Point]:
    """Returns the points of a grid or list; [] for a search.

    Raises:
      UserError: not exactly one of grid, points and search is set, or two
        points are equal.
    """
    given = [x for x in (self.grid, self.points, self.search) if x is not None]
    if len(given) != 1:
      raise UserError(
        'expected one of grid, points and search, got '
        f'{len(given)}; set one of them in SWEEP'
      )
    if self.points is not None and not self.points:
      raise UserError('expected points, got none; set points of SWEEP')
    if self.search:
      return []
    points = self.points
    if self.grid is not None:
      points = [
        dict(zip(self.grid, values, strict=True))
        for values in itertools.product(*self.grid.values())
      ]
    names = [name_of(point) for point in points]
    for i, name in enumerate(names):
      if name in names[:i]:
        raise UserError(
          f'two runs would share the folder {name!r}; take one '
          'of them out of the grid or points of SWEEP'
        )
    return [dict(point) for point in points]


def _check_values(name: str, values) -> None:
  if isinstance(values, str) or not isinstance(values, Sequence) or not values:
    raise UserError(f'{name}: expected values in a tuple, got {values!r}')


def name_of(point: Point) -> str:
  """Returns a folder's name: 'MASK_RATE=0.3,NSP=True'."""
  parts = []
  for name, value in point.items():
    text = f'{value:g}' if isinstance(value, float) else str(value)
    if is_file(value):
      text = text.rsplit('/', 1)[-1].removesuffix('.gin')
    parts.append(f'{name}={text}')
  return re.sub(r'[^\w=.,+-]+', '_', ','.join(parts)) or 'all'


def is_file(value) -> bool:
  """Returns whether the value of an axis is one more gin file."""
  return isinstance(value, str) and value.endswith('.gin')
