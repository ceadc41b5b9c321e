"""A model to start from or to predict with: a run, or a Hugging Face directory.

    found = source.read('runs/books')
    found.config, found.parameters, found.task, found.step

Source: ours.
"""

import json
import os
from typing import NamedTuple

from bertjax.errors import UserError
from bertjax.interop import huggingface, names
from bertjax.models.config import EncoderConfig
from bertjax.runs import layout, model_file
from bertjax.runs.checkpoints import Checkpoints
from bertjax.text import vocabulary_file

# Fields of EncoderConfig that no parameter's shape tells.
COMPUTATION = ('activation', 'norm_epsilon', 'position_scheme')


class TrainedModel(NamedTuple):
  """What a directory gives.

  Attributes:
    config: the architecture.
    parameters: nested by name, numpy arrays, with the heads that are there.
    task: of a model that was fine-tuned: `kind` of its labels, their names in
      `labels`, ..., see `model_file`; None of others.
    step: of a run's checkpoint, else None.
    path: of the directory that was read.
  """

  config: EncoderConfig
  parameters: names.Parameters
  task: dict | None
  step: int | None
  path: str


def read(path: str, step: int | None = None) -> TrainedModel:
  """Reads the folder of a run, or a Hugging Face directory.

  Args:
    path: the folder. Of fine-tuning it holds runs of several seeds, of which
      the best is read.
    step: of a run's checkpoint; None: the best, else the latest.

  Raises:
    UserError: neither of the two, no checkpoint, or a damaged one.
  """
  path = best_run(path)
  if os.path.exists(os.path.join(path, 'config.json')):
    if step is not None:
      raise UserError(
        f'{path} is a Hugging Face directory, which has no '
        f'checkpoint of a step {step}; set STEP to None'
      )
    checkpoint = huggingface.read(path)
    if checkpoint.unused:
      print(f'{path}: {checkpoint.report()}', flush=True)
    return TrainedModel(
      checkpoint.config, checkpoint.parameters, checkpoint.task, None, path
    )
  config = model_file.read(path)
  best = os.path.join(path, layout.BEST)
  folder = (
    best
    if step is None and os.path.exists(best)
    else os.path.join(path, layout.CHECKPOINTS)
  )
  with Checkpoints(folder, read_only=True) as checkpoints:
    found = checkpoints.parameters(step)
  if found is None:
    raise UserError(f'{path} has no checkpoint yet')
  return TrainedModel(
    config, found[0], model_file.read_task(path), found[1], path
  )


def best_run(path: str) -> str:
  """Returns the best run of a folder of fine-tuning; another path as it is.

  Raises:
    UserError: it holds several tasks, or no run that is done.
  """
  results = os.path.join(path, layout.RESULTS)
  if not os.path.exists(results):
    return path
  with open(results, encoding='utf-8') as file:
    rows = json.load(file)['tasks']
  if len(rows) == 1:
    return os.path.join(path, rows[0]['best_run'])
  raise UserError(
    f'{path} holds the runs of {len(rows)} tasks; point RUN_DIR or INIT_FROM '
    f'to one: {", ".join(os.path.join(path, row["task"]) for row in rows)}'
    if rows
    else f'{path} has no run that is done yet'
  )


def parameters(
  path: str | None, config: EncoderConfig, vocab_file: str | None
) -> names.Parameters | None:
  """Returns the parameters that INIT_FROM names; None for None.

  Args:
    path: a run, or a Hugging Face directory.
    config: of the run that starts.
    vocab_file: its vocabulary.

  Raises:
    UserError: see `read`; or another vocabulary, of the same size maybe, with
      which every row of the token table would stand for another token; or
      parameters that were trained for another computation.
  """
  if path is None:
    return None
  path = best_run(path)
  theirs = os.path.join(path, layout.VOCABULARY)
  if vocab_file is None or vocabulary_file.load(theirs) != vocabulary_file.load(
    vocab_file
  ):
    raise UserError(
      f'INIT_FROM has another vocabulary than this run; set '
      f'VOCAB_FILE to {theirs}'
    )
  found = read(path)
  different = [
    f'{name} {getattr(found.config, name)!r} there and '
    f'{getattr(config, name)!r} here'
    for name in COMPUTATION
    if getattr(found.config, name) != getattr(config, name)
  ]
  if different:
    raise UserError(
      f'INIT_FROM was trained with another computation: '
      f'{", ".join(different)}; set EncoderConfig.'
      f'{different[0].split()[0]}'
    )
  return names.fit_vocabulary(found.parameters, config)
