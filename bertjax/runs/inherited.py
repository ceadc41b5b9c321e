"""What pretraining inherits from INIT_FROM: its architecture and vocabulary.

    here = inherited.architecture(EncoderConfig, init_from='runs/books')
    path = inherited.vocabulary(init_from='runs/books')  # runs/books/vocab.txt

A run that goes on asks its own folder, and needs INIT_FROM no more. The
parameters are those of `trained_model.parameters`.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.models import tiling
from bertjax.models.config import NEEDS, EncoderConfig, fields_affecting
from bertjax.runs import layout, model_file, trained_model
from bertjax.text import vocabulary_file
from bertjax.values import Path, Place, checked


@checked
def architecture(
  config: Callable[..., EncoderConfig],
  init_from: Path | None = None,
  run_dir: Path | None = None,
  changes: str | Sequence[str] = (),
  tile: bool = False,
) -> EncoderConfig:
  """Returns the architecture of a run: if INIT_FROM is set, of that one.

  The recipe's are then the fields that affect only training or the program, and
  those in `changes`.

  Args:
    config: makes the recipe's architecture, given any of its fields.
    init_from: a run or a Hugging Face directory; None: all is the recipe's.
    run_dir: of the run; if it has begun, it is asked in place of `init_from`.
    changes: see `trained_model.parameters`.
    tile: whether the size is the recipe's.

  Raises:
    UserError: the recipe wants a field to be neither the default nor what
      INIT_FROM has, or `changes` names one that cannot change; see also
      `trained_model.read`.
  """
  if init_from is None:
    return config()
  changes = (changes,) if isinstance(changes, str) else changes
  there = _of_run(run_dir) or _of(trained_model.best_run(init_from))
  trained_model.check_changes(there, changes)
  kept = {
    name: getattr(there, name)
    for name in fields_affecting('shapes', 'computation')
    if name not in changes and not (tile and name in tiling.SIZES)
  }
  here = config(**kept)
  for field in dataclasses.fields(here):
    name = field.name
    # A recipe names a size for whoever starts from nothing, so it is no wish;
    # the command line refuses one that it is given.
    if name not in kept or name in ('vocabulary_size', *tiling.SIZES):
      continue
    wanted = _wanted(config, here, name)
    if wanted not in (field.default, kept[name]):
      raise UserError(
        f'INIT_FROM brings its own {name}, {kept[name]!r}, but '
        f'EncoderConfig.{name} is {wanted!r}; leave it out, or name it in '
        'CHANGES'
      )
  if here.attention_dropout is None:
    return dataclasses.replace(
      here, attention_dropout=there.kept_attention_dropout
    )
  return here


def _wanted(
  config: Callable[..., EncoderConfig], here: EncoderConfig, name: str
) -> Any:
  """Returns a field as the recipe has it, beside others that go with any."""
  fields = {
    field.name: getattr(here, field.name)
    if field.default is dataclasses.MISSING
    else field.default
    for field in dataclasses.fields(here)
  }
  for other in ('positions', 'local_window', NEEDS.get(name, 'positions')):
    fields[other] = getattr(here, other)
  del fields[name]
  return getattr(config(**fields), name)


@checked
def vocabulary(
  init_from: Path | None = None,
  run_dir: Path | None = None,
  vocab_file: Place | None = None,
  corpus_dir: Path | Sequence[Path] | None = None,
) -> str | None:
  """Returns the file of the vocabulary for a run's text.

  None: it is to be trained on the text, or that of `corpus_dir` is used.

  Args:
    init_from: has it, unless it is None or `vocab_file` is given.
    run_dir: see `architecture`.
    vocab_file: `trained_model.parameters` compares it with that of INIT_FROM.
    corpus_dir: one prepared corpus or several.

  Raises:
    UserError: `corpus_dir` has another vocabulary than INIT_FROM.
  """
  if init_from is None or vocab_file is not None:
    return vocab_file
  path = None
  if run_dir is not None and layout.has_checkpoint(run_dir):
    path = vocabulary_file.find(run_dir)
  if path is None or not os.path.exists(path):
    path = vocabulary_file.find(trained_model.best_run(init_from))
  if corpus_dir is None:
    return path
  for folder in [corpus_dir] if isinstance(corpus_dir, str) else corpus_dir:
    own = vocabulary_file.find(folder)
    # Whoever opens the corpus says what is missing there.
    if os.path.exists(own) and trained_model.differ(own, path):
      raise UserError(
        f'INIT_FROM has another vocabulary than the corpus in {folder}; set '
        f'CORPUS_DIR to one that was prepared with VOCAB_FILE={path}, or '
        'TEXT_FILES in its place'
      )
  return None


def is_continued(init_from: Path | None = None) -> bool:
  """Returns whether training starts from what another one learnt."""
  return init_from is not None


def _of_run(run_dir: str | None) -> EncoderConfig | None:
  """Returns the architecture of a run that has begun, else None."""
  if run_dir is not None and layout.has_checkpoint(run_dir):
    # Else it was ended before it was written, or is written anew.
    with contextlib.suppress(UserError):
      return model_file.read(run_dir)
  return None


def _of(path: str) -> EncoderConfig:
  file = os.path.join(path, 'config.json')
  if not os.path.exists(file):
    return model_file.read(path)
  return _of_directory(path, os.stat(file).st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _of_directory(path: str, changed: int) -> EncoderConfig:
  # Its weights say a part of it, which gin asks for once for each use.
  return trained_model.read(path).config
