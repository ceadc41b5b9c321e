"""A model to start from or to predict with: a run, or a Hugging Face directory.

    found = source.read('runs/books')
    found.config, found.params, found.labels, found.step

Source: ours.
"""

import os
from typing import NamedTuple

from bertjax import vocabulary_file
from bertjax.errors import UserError
from bertjax.interop import huggingface, names
from bertjax.models.config import EncoderConfig
from bertjax.training import model_file
from bertjax.training.checkpoints import Checkpoints


class Source(NamedTuple):
  """What a directory gives.

  Attributes:
    config: the architecture.
    params: nested by name, numpy arrays, with the heads that are there.
    labels: of the classes; None without such a head.
    step: of a run's checkpoint, else None.
  """

  config: EncoderConfig
  params: names.Params
  labels: tuple[str, ...] | None
  step: int | None


def read(path: str, step: int | None = None) -> Source:
  """Reads the folder of a run, or a Hugging Face directory.

  Args:
    path: the folder.
    step: of a run's checkpoint; None: its latest.

  Raises:
    UserError: neither of the two, no checkpoint, or a damaged one.
  """
  if os.path.exists(os.path.join(path, 'config.json')):
    if step is not None:
      raise UserError(f'{path} is a Hugging Face directory, which has no '
                      f'checkpoint of a step {step}; set STEP to None')
    checkpoint = huggingface.read(path)
    if checkpoint.unused:
      print(f'{path}: {checkpoint.report()}', flush=True)
    return Source(checkpoint.config, checkpoint.params, checkpoint.labels, None)
  config = model_file.read(path)
  with Checkpoints(
      os.path.join(path, 'checkpoints'), read_only=True
  ) as checkpoints:
    found = checkpoints.parameters(step)
  if found is None:
    raise UserError(f'{path} has no checkpoint yet')
  return Source(config, found[0], None, found[1])


def parameters(path: str | None, run_dir: str) -> names.Params | None:
  """Returns the parameters that INIT_FROM names; None for None.

  Args:
    path: a run, or a Hugging Face directory.
    run_dir: of the run that starts, whose vocab.txt is there already.

  Raises:
    UserError: see `read`; or another vocabulary, of the same size maybe, with
      which every row of the token table would stand for another token.
  """
  if path is None:
    return None
  found = read(path)
  theirs, ours = (
      vocabulary_file.read(os.path.join(folder, 'vocab.txt'))
      for folder in (path, run_dir)
  )
  if theirs != ours:
    raise UserError(
        f'INIT_FROM has another vocabulary than this run; set VOCAB_FILE to '
        f'{os.path.join(path, "vocab.txt")}, and RUN_DIR to a new directory')
  return found.params
