"""A trained model, read from a run or from a Hugging Face directory.

found = trained_model.read('runs/books')
found.config, found.parameters, found.task, found.step
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from flax import traverse_util

from bertjax.errors import UserError, choose, expect
from bertjax.interop import absent_model, huggingface, names
from bertjax.models import bert, tiling
from bertjax.models.config import EncoderConfig, fields_affecting
from bertjax.runs import layout, model_file
from bertjax.runs.checkpoints import Checkpoints
from bertjax.text import vocabulary_file
from bertjax.values import Path, Place, checked


class TrainedModel(NamedTuple):
  """What a directory holds.

  Attributes:
    config: its architecture.
    parameters: of the run's main model, nested by name, numpy arrays, with the
      heads that were saved.
    task: of a fine-tuned model the content of task.json: `kind`, `labels`, ...,
      see `model_file.write_task`; None for other models. Of a run also `path`,
      of that file, and `outputs`: head -> how many numbers it gives, or 0, if
      that is not known.
    step: of the run's checkpoint; None for a Hugging Face directory.
    path: the directory that was read.
    averaged: steps of the checkpoints that `averaging.read` read.
  """

  config: EncoderConfig
  parameters: names.Parameters
  task: dict[str, Any] | None
  step: int | None
  path: str
  averaged: tuple[int, ...] = ()


def read(path: str, step: int | None = None) -> TrainedModel:
  """Reads the folder of a run, or a Hugging Face directory.

  Args:
    path: the folder. If it holds the seeds of a fine-tuning, the best is read.
    step: of a run's checkpoint; None is the best, else the latest.

  Raises:
    UserError: it is neither of the two, its checkpoint is missing or damaged,
      its model.json calls for parameters of other shapes, a parameter holds NaN
      or infinity, or its vocabulary is not the one that it was trained with.
  """
  path = best_run(os.fspath(path))
  if os.path.exists(os.path.join(path, 'config.json')):
    if step is not None:
      raise UserError(
        f'{path} is a Hugging Face directory, which has no checkpoint of '
        f'step {step}; set STEP to None'
      )
    theirs = huggingface.read(path)
    if theirs.unused:
      print(f'{path}: {theirs.report()}', flush=True)
    return TrainedModel(
      theirs.config, theirs.parameters, theirs.task, None, path
    )
  config, main = model_file.read(path), model_file.read_main(path)
  model_file.check_vocabulary(path)
  folder = os.path.join(path, layout.BEST)
  if step is not None or not os.path.exists(folder):
    folder = os.path.join(path, layout.CHECKPOINTS)
  with Checkpoints(folder, read_only=True) as checkpoints:
    found = checkpoints.parameters(step)
  if found is None:
    raise UserError(
      f'{path} has no checkpoint yet; wait for its first, start the run again, '
      'or choose another'
    )
  parameters, step = found
  if main:
    parameters = choose(parameters, main, f'main in {path}/{layout.MODEL}')
  for name, array in traverse_util.flatten_dict(parameters, sep='/').items():
    if not np.isfinite(array).all():
      raise UserError(
        f'expected finite parameters at step {step} of {path}, got NaN or '
        f'infinity in {name}; choose an earlier step, or another run'
      )
  _check_shapes(parameters, config, os.path.join(path, layout.MODEL))
  if task := model_file.read_task(path):
    task['path'] = os.path.join(path, layout.TASK)
    task['outputs'] = {
      name: np.size(parameters[name].get('bias', ()))
      for name in bert.TASK_HEADS
      if name in parameters
    }
  return TrainedModel(config, parameters, task, step, path)


def _check_shapes(
  found: names.Parameters, config: EncoderConfig, path: str
) -> None:
  """Refuses a model.json, at `path`, that is not of these parameters."""
  try:
    expected = tiling.shapes(config)
  except UserError as error:
    raise model_file.damaged(path, error) from error
  theirs = traverse_util.flatten_dict(found, sep='/')
  heads = {x.partition('/')[0] for x in expected}  # not all have these
  for name in sorted({*expected, *theirs}):
    head = name.partition('/')[0]
    if head not in found or head not in heads:
      continue
    got = theirs[name].shape if name in theirs else None
    if got != expected.get(name):
      raise model_file.damaged(
        path,
        UserError(
          f'expected {name} of shape {expected.get(name)}, as this file says, '
          f'got {got} in the checkpoint'
        ),
      )


@checked
def best_run(path: Path) -> str:
  """Returns the best run in a folder of fine-tuning; any other path unchanged.

  Raises:
    UserError: `path` has a scheme such as gs://, or there is nothing, or a
      folder with several tasks, or with no finished run.
  """
  if not epath.Path(path).is_dir():
    raise absent_model.refusal(path)
  rows = model_file.read_results(path)
  if rows is None:
    return path
  if len(rows) == 1:
    return os.path.join(path, rows[0]['best_run'])
  raise UserError(
    f'{path} holds the runs of {len(rows)} tasks; point MODEL or INIT_FROM '
    f'to one: {", ".join(os.path.join(path, row["task"]) for row in rows)}'
    if rows
    else f'{path} has no finished run yet; start the fine-tuning again, which '
    'goes on, or choose another run'
  )


@checked
def parameters(
  path: Path | None,
  config: EncoderConfig,
  vocab_file: Place | None = None,
  changes: str | Sequence[str] = (),
  tile: bool = False,
) -> names.Parameters | None:
  """Returns the parameters that INIT_FROM names; None for None.

  Args:
    path: a run, or a Hugging Face directory.
    config: of the run that starts.
    vocab_file: the vocabulary of the run that starts; None: that of `path`.
    changes: fields of EncoderConfig that change what is computed with the
      parameters and that are to differ from how these were trained.
    tile: whether to make them parameters of the size in `config`.

  Raises:
    UserError: see `read` and `tiling.tile`; or the vocabularies differ, maybe
      with the same size, so that rows of the token table would stand for other
      tokens; or the parameters were trained with another computation than
      `changes` admits; or a field in `changes` is unknown or does not differ.
  """
  changes = (changes,) if isinstance(changes, str) else changes
  if path is None:
    if changes:
      raise UserError(
        f'CHANGES names {", ".join(changes)}, but INIT_FROM is None; set one '
        'of the two'
      )
    expect(not tile, 'False without INIT_FROM', tile, 'TILE')
    return None
  path = best_run(path)
  theirs = vocabulary_file.find(path)
  if vocab_file is not None and differ(theirs, vocab_file):
    raise UserError(
      f'INIT_FROM has another vocabulary than this run; leave VOCAB_FILE out, '
      f'for it is {theirs} then'
    )
  found = read(path)
  print(
    f'INIT_FROM: {found.config.layers} layers of width {found.config.width} '
    f'in {path}, with {theirs}{_particulars(found.config)}',
    flush=True,
  )
  check_changes(found.config, changes)
  _check_computation(found.config, config, changes)
  loaded = names.fit_vocabulary(found.parameters, config)
  return tiling.tile(loaded, found.config, config) if tile else loaded


def _particulars(config: EncoderConfig) -> str:
  """Returns in what an architecture, but for its size, is not BERT's."""
  names = fields_affecting('shapes', 'computation')
  found = [
    f'{x.name} {getattr(config, x.name)!r}'
    for x in dataclasses.fields(config)
    if x.name in names
    and x.default is not dataclasses.MISSING
    and getattr(config, x.name) != x.default
  ]
  return f'; {", ".join(found)}' if found else ''


def differ(one: str, other: str) -> bool:
  """Returns whether two files are of different vocabularies."""
  return vocabulary_file.load(one) != vocabulary_file.load(other)


def check_changes(config: EncoderConfig, changes: Sequence[str]) -> None:
  """Refuses the name of a field that cannot change after training.

  Raises:
    UserError: it is none of those that affect the computation, nor `positions`,
      or there is a parameter for each position.
  """
  for name in changes:
    choose(dict.fromkeys(_changeable()), name, 'CHANGES')
    if name == 'positions' and config.position_scheme == 'learned':
      raise UserError(
        f'CHANGES names positions, but INIT_FROM has {config.positions} that '
        'are learned; set CHANGES without them, and LENGTH to no more'
      )


def _changeable() -> tuple[str, ...]:
  return (*fields_affecting('computation'), 'positions')


def _check_computation(
  there: EncoderConfig, here: EncoderConfig, changes: Sequence[str]
) -> None:
  """Prints the `changes`; raises UserError for any other, or for none."""
  different = [
    name
    for name in _changeable()
    if getattr(there, name) != getattr(here, name)
  ]
  told = {x: (getattr(there, x), getattr(here, x)) for x in _changeable()}
  for name in changes:
    if name not in different:
      raise UserError(
        f'CHANGES names {name}, which is {told[name][1]!r} in INIT_FROM and in '
        f'this run; set CHANGES without it, or EncoderConfig.{name}'
      )
  # Shapes differ loudly, without this.
  computed = [x for x in different if x != 'positions']
  if other := [x for x in computed if x not in changes]:
    both = (f'{x} {told[x][0]!r} there and {told[x][1]!r} here' for x in other)
    raise UserError(
      f'INIT_FROM was trained with another computation: {", ".join(both)}; '
      f'set EncoderConfig.{other[0]}, or name it in CHANGES'
    )
  for x in changes:
    line = 'INIT_FROM: {} changes from {!r} to {!r}'
    print(line.format(x, *told[x]), flush=True)
