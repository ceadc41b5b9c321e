"""The model that fine-tuning starts from: trained, or only a vocabulary.

start = initial_model.read('runs/books')
start.parameters_for(task)  # to load, or None
"""

import contextlib
import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from bertjax.errors import UserError
from bertjax.interop import names
from bertjax.models import tiling
from bertjax.models.config import EncoderConfig
from bertjax.runs import trained_model
from bertjax.tasks import kinds
from bertjax.tasks.specs import Task
from bertjax.text import vocabulary_file
from bertjax.text.tokenizer import Tokenizer
from bertjax.training import layerwise


@dataclasses.dataclass(frozen=True)
class InitialModel:
  """Where fine-tuning begins.

  Attributes:
    config: the architecture.
    tokenizer: the model's.
    parameters: nested by name; None to train from scratch.
    task: of the head among `parameters`, if there is one.
  """

  config: EncoderConfig
  tokenizer: Tokenizer
  parameters: names.Parameters | None = None
  task: Task | None = None

  def parameters_for(self, task: Task) -> names.Parameters | None:
    """Returns the parameters to load, or None to train from scratch.

    A task head is among them only if it is of the same kind and labels.

    Nor are the topmost `task.fresh_layers` and, if there are any, the pooler or
    the head that stands in its place.
    """
    if self.parameters is None:
      return None
    loaded = layerwise.without_top(
      self.parameters, self.config.layers, task.fresh_layers
    )
    heads = {kind.head for kind in kinds.KINDS.values()}
    if self.task:
      own = (self.task.kind, self.task.labels, kinds.head_of(self.task))
      if own == (task.kind, task.labels, kinds.head_of(task)):
        return dict(loaded)
      heads.add(own[-1])
    return {name: x for name, x in loaded.items() if name not in heads}


def read(
  init_from: str | None,
  vocab_file: str | None = None,
  config: Callable[..., EncoderConfig] | None = None,
) -> InitialModel:
  """Reads a model, or else a vocabulary.

  Args:
    init_from: a run or a Hugging Face directory; None to train from scratch.
    vocab_file: the vocabulary if init_from is None, else not used: a line says
      so if it is another.
    config: makes the architecture then, given `vocabulary_size`.

  Raises:
    UserError: neither is given; init_from has another architecture, but for
      size, than `config` asks for; see also `trained_model.read` and
      `vocabulary_file.load`.
  """
  if init_from is not None:
    found = trained_model.read(init_from)
    tokenizer = Tokenizer.load(found.path)
    tokenizer.check_fits(found.config.vocabulary_size, found.path)
    _check_unused(found.config, tokenizer, vocab_file, config)
    return InitialModel(
      found.config,
      tokenizer,
      jax.tree.map(np.asarray, found.parameters),
      kinds.of_json(found.task) if found.task else None,
    )
  if vocab_file is None or config is None:
    raise UserError(
      'expected a model to start from in INIT_FROM, or, to train from scratch, '
      'a vocabulary in VOCAB_FILE'
    )
  tokenizer = Tokenizer(*vocabulary_file.load(vocab_file))
  return InitialModel(config(vocabulary_size=len(tokenizer.tokens)), tokenizer)


def _check_unused(
  theirs: EncoderConfig,
  tokenizer: Tokenizer,
  vocab_file: str | None,
  config: Callable[..., EncoderConfig] | None,
) -> None:
  """Refuses what differs in INIT_FROM and was set, or says it is not used."""
  unused, ours = [], theirs
  with contextlib.suppress(TypeError):  # one that lacks its sizes
    ours = config(vocabulary_size=theirs.vocabulary_size) if config else theirs
  for field in dataclasses.fields(EncoderConfig):
    name, affects = field.name, field.metadata['affects']
    here, there = getattr(ours, name), getattr(theirs, name)
    # All recipes name a size, so that these do not say what somebody wants; the
    # command line refuses those that it is given.
    is_set = name not in tiling.SIZES and here != field.default
    if here == there or affects == 'training' or not is_set:
      continue
    if affects != 'program':
      raise UserError(
        f'INIT_FROM brings its own {name}, {there!r}, but EncoderConfig.{name} '
        f'is {here!r}; leave it out, or set INIT_FROM to None'
      )
    unused.append(f'EncoderConfig.{name} {here!r} (there {there!r})')
  if vocab_file is not None:
    own = None
    with contextlib.suppress(UserError):
      own = Tokenizer(*vocabulary_file.load(vocab_file))
    if own is None or own.parts != tokenizer.parts:
      unused.append(f'VOCAB_FILE {vocab_file}')
  if unused:
    print(
      'INIT_FROM brings its own model and vocabulary, so these are not used: '
      f'{", ".join(unused)}',
      flush=True,
    )
