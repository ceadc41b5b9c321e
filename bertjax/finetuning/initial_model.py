"""What a task starts from: a model that is there, or nothing but a vocabulary.

    start = read('runs/books', None, None)
    start.parameters_for(task, fresh_layers=1)     # to load, or None

Source: ours.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from bertjax.errors import UserError
from bertjax.interop import names
from bertjax.models.config import EncoderConfig
from bertjax.runs import trained_model
from bertjax.tasks import head_outputs
from bertjax.tasks.specs import Task
from bertjax.text import vocabulary_file
from bertjax.text.tokenizer import Tokenizer
from bertjax.training import layerwise


@dataclasses.dataclass(frozen=True)
class InitialModel:
  """Where fine-tuning begins.

  Attributes:
    config: the architecture.
    tokenizer: see `tokenize`.
    parameters: nested by name; None: from nothing.
    task: of the head that `parameters` have, see `runs.trained_model`.
  """

  config: EncoderConfig
  tokenizer: Tokenizer
  parameters: names.Parameters | None = None
  task: dict | None = None

  def parameters_for(
    self, task: Task, fresh_layers: int
  ) -> names.Parameters | None:
    """Returns what is loaded; of a task's head only one for the same labels.

    Args:
      task: that is trained for.
      fresh_layers: topmost layers that are left out, with the pooler.
    """
    if self.parameters is None:
      return None
    loaded = layerwise.without_top(
      self.parameters, self.config.layers, fresh_layers
    )
    same = self.task and (
      self.task['kind'],
      tuple(self.task['labels']),
      self.task.get('head') or task.head,
    ) == (task.kind, tuple(task.labels), task.head)
    heads = {*head_outputs.HEADS.values(), (self.task or {}).get('head')}
    return {k: v for k, v in loaded.items() if same or k not in heads}


def read(
  init_from: str | None,
  vocab_file: str | None = None,
  config: Callable[..., EncoderConfig] | None = None,
) -> InitialModel:
  """Reads a model, or else a vocabulary.

  Args:
    init_from: a run or a Hugging Face directory; None: start from nothing.
    vocab_file: the vocabulary where init_from is None.
    config: makes the architecture then, given `vocabulary_size`.

  Raises:
    UserError: neither is given; see `source.read` and `vocabulary_file.read`.
  """
  if init_from is not None:
    found = trained_model.read(init_from)
    tokenizer = Tokenizer.load(found.path)
    tokenizer.check_fits(found.config.vocabulary_size, found.path)
    return InitialModel(
      found.config,
      tokenizer,
      jax.tree.map(np.asarray, found.parameters),
      found.task,
    )
  if vocab_file is None or config is None:
    raise UserError(
      'a model to start from is expected in INIT_FROM, or, to '
      'start from nothing, a vocab.txt in VOCAB_FILE'
    )
  tokenizer = Tokenizer(*vocabulary_file.load(vocab_file))
  return InitialModel(config(vocabulary_size=len(tokenizer.tokens)), tokenizer)
