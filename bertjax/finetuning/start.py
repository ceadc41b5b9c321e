"""What a task starts from: a model that is there, or nothing but a vocabulary.

    start = read('runs/books', None, None)
    start.parameters(task, fresh_layers=1)     # to load, or None

Source: ours.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from bertjax import vocabulary_file
from bertjax.errors import UserError
from bertjax.finetuning.specs import Task
from bertjax.inference import task_heads
from bertjax.inference.tokenize import Tokenizer
from bertjax.interop import names, source
from bertjax.models.config import EncoderConfig
from bertjax.training import layerwise


@dataclasses.dataclass(frozen=True)
class Start:
  """Where fine-tuning begins.

  Attributes:
    config: the architecture.
    tokenizer: see `tokenize`.
    params: nested by name; None: from nothing.
    task: of the head that `params` have, see `interop.source`.
  """

  config: EncoderConfig
  tokenizer: Tokenizer
  params: names.Params | None = None
  task: dict | None = None

  def parameters(self, task: Task, fresh_layers: int) -> names.Params | None:
    """Returns what is loaded; of a task's head only one for the same labels.

    Args:
      task: that is trained for.
      fresh_layers: topmost layers that are left out, with the pooler.
    """
    if self.params is None:
      return None
    loaded = layerwise.without_top(
      self.params, self.config.layers, fresh_layers
    )
    same = self.task and (
      self.task['kind'],
      tuple(self.task['labels']),
      self.task.get('head') or task.head,
    ) == (task.kind, tuple(task.labels), task.head)
    heads = {*task_heads.HEADS.values(), (self.task or {}).get('head')}
    return {k: v for k, v in loaded.items() if same or k not in heads}


def read(
  init_from: str | None,
  vocab_file: str | None = None,
  config: Callable[..., EncoderConfig] | None = None,
) -> Start:
  """Reads a model, or else a vocabulary.

  Args:
    init_from: a run or a Hugging Face directory; None: start from nothing.
    vocab_file: the vocabulary where init_from is None.
    config: makes the architecture then, given `vocabulary_size`.

  Raises:
    UserError: neither is given; see `source.read` and `vocabulary_file.read`.
  """
  if init_from is not None:
    found = source.read(init_from)
    tokenizer = Tokenizer.load(found.path)
    tokenizer.check_fits(found.config.vocabulary_size, found.path)
    return Start(
      found.config,
      tokenizer,
      jax.tree.map(np.asarray, found.params),
      found.task,
    )
  if vocab_file is None or config is None:
    raise UserError(
      'a model to start from is expected in INIT_FROM, or, to '
      'start from nothing, a vocab.txt in VOCAB_FILE'
    )
  tokenizer = Tokenizer(*vocabulary_file.load(vocab_file))
  return Start(config(vocabulary_size=len(tokenizer.tokens)), tokenizer)
