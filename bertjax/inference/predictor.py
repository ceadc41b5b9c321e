"""A trained model that embeds, fills masks, classifies, tags and answers.

    predictor = Predictor.load('runs/books')  # or a Hugging Face directory
    predictor.embed(['Hello!', 'Good day.'])  # float32[2, D]
    predictor.fill_mask(['The [MASK] sat.'])  # [[[('cat', 0.31), ...]]]
    Predictor.load('runs/sst2').classify(['Fun!'])  # [{'label': ...}]

In every method, `length` is the most tokens of a row, [CLS] and [SEP] included,
and `batch_size` the most rows of a batch. A length beyond the model's positions
is a UserError.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.errors import UserError, choose
from bertjax.inference import forward
from bertjax.interop import names
from bertjax.models import bert
from bertjax.models.config import EncoderConfig
from bertjax.models.poolings import POOLINGS
from bertjax.runs import trained_model
from bertjax.tasks import head_outputs
from bertjax.text import batching, context_windows, mask_rows, word_rows
from bertjax.text.tokenizer import Tokenizer


class Predictor:
  """A model's parameters and tokenizer.

  Attributes:
    config: the architecture.
    parameters: nested by name, with the heads that the checkpoint has.
    tokenizer: the model's.
    origin: where the model came from, for messages.
    step: of a run's checkpoint, else None.
    task: of a fine-tuned model, see `trained_model.TrainedModel`, else None.
    cut: how many texts were longer than `length` so far.
  """

  def __init__(
    self,
    config: EncoderConfig,
    parameters: names.Parameters,
    tokenizer: Tokenizer,
    origin: str = 'the model',
    step: int | None = None,
    task: dict[str, Any] | None = None,
  ):
    """Raises UserError if the vocabulary does not fit the token table."""
    tokenizer.check_fits(config.vocabulary_size, origin)
    self.config = config
    self.parameters = jax.tree.map(jnp.asarray, parameters)
    self.tokenizer = tokenizer
    self.origin = origin
    self.step = step
    self.task = task
    self.cut = 0

  @classmethod
  def load(cls, path: str, step: int | None = None) -> 'Predictor':
    """Reads the folder of a run, or a Hugging Face directory.

    Args:
      path: the folder. If it holds the seeds of a fine-tuning, the best is
        read.
      step: of a run's checkpoint; None: its best, else its latest.

    Raises:
      UserError: see `trained_model.read`.
    """
    found = trained_model.read(path, step)
    return cls(
      found.config,
      found.parameters,
      Tokenizer.load(found.path),
      path,
      found.step,
      found.task,
    )

  def embed(
    self,
    texts: Sequence[str],
    pooling: str = 'mean',
    normalize: bool = False,
    length: int = 128,
    batch_size: int = 32,
  ) -> np.ndarray:
    """Returns a vector for each text: float32[n, D], in their order.

    Args:
      texts: any; one that is too long is cut.
      pooling: a name in `poolings.POOLINGS`.
      normalize: whether to scale each vector to length 1.
      length: see above.
      batch_size: see above.
    """
    choose(POOLINGS, pooling, 'POOLING')
    self.check_length(length)
    vectors = list(
      self._run(
        forward.embed(self.config, pooling, normalize),
        self._rows(texts, length),
        length,
        batch_size,
      )
    )
    return (
      np.stack(vectors)
      if vectors
      else np.zeros((0, self.config.width), np.float32)
    )

  def fill_mask(
    self,
    texts: Sequence[str],
    top_k: int = 5,
    length: int = 128,
    batch_size: int = 32,
  ) -> list[list[list[tuple[str, float]]]]:
    """Returns the likeliest tokens for each [MASK] of each text.

    Args:
      texts: with '[MASK]' in them, within `length` tokens.
      top_k: how many tokens per [MASK].
      length: see above.
      batch_size: see above.

    Returns:
      for each text, for each [MASK] in it, pairs (token, probability), the
      likeliest first.

    Raises:
      UserError: the model has no masked-LM head.
    """
    self.check_fills_masks()
    self.check_length(length)
    known = len(self.tokenizer.tokens)
    function = forward.fill_mask(self.config, known, min(top_k, known))
    return mask_rows.predict(
      self.tokenizer,
      self._rows(texts, length, masks=True),
      lambda rows: self._run(function, rows, length, batch_size),
    )

  def classify(
    self,
    texts: Sequence[str | Sequence[str]],
    length: int | None = None,
    batch_size: int = 32,
  ) -> list[dict[str, Any]]:
    """Returns a prediction for each text, see `head_outputs.describe`.

    Args:
      texts: texts, or pairs of texts; what is too long is cut.
      length: see above; None: as in training.
      batch_size: see above.

    Raises:
      UserError: the model is no classifier.
    """
    task = self._task_of('classes', 'number', 'labels')
    length = self.length(length)
    logits = list(self.logits(self._rows(texts, length), length, batch_size))
    return (
      list(
        head_outputs.describe(
          task, head_outputs.probabilities(task['kind'], np.stack(logits))
        )
      )
      if logits
      else []
    )

  def tag(
    self,
    sentences: Sequence[Sequence[str]],
    length: int | None = None,
    batch_size: int = 32,
  ) -> list[list[str]]:
    """Returns a tag for each word of each sentence.

    Args:
      sentences: each a list of words; a long one is divided, none is cut.
      length: see above; None: as in training.
      batch_size: see above.

    Raises:
      UserError: the model has no head for tags.
    """
    task = self._task_of('tags')
    if any(isinstance(sentence, str) for sentence in sentences):
      raise UserError('expected lists of words, got a text; split it')
    length = self.length(length)
    return word_rows.predict(
      self.tokenizer,
      sentences,
      task['labels'],
      length,
      lambda rows: self.logits(rows, length, batch_size),
    )

  def answer(
    self,
    question: str,
    context: str,
    length: int | None = None,
    batch_size: int = 32,
  ) -> context_windows.Answers:
    """Returns the parts of a context that answer a question, best first.

    Args:
      question: a text.
      context: a text of any length; it is read in windows, as in training.
      length: see above; None: as in training.
      batch_size: see above.

    Raises:
      UserError: the model has no head for spans.
    """
    task = self._task_of('spans')
    length = self.length(length)
    (found,) = context_windows.predict(
      self.tokenizer,
      [(question, context)],
      length,
      lambda rows: self.logits(rows, length, batch_size),
      task.get('stride', context_windows.STRIDE),
    )
    return found

  def logits(
    self, rows: Iterable[batching.Row], length: int, batch_size: int
  ) -> Iterator[np.ndarray]:
    """Yields the task head's logits for each row: float32[C], or [L, C]."""
    self.check_length(length)
    assert self.task is not None
    kind, labels = self.task['kind'], self.task['labels']
    head = self.task.get('head') or head_outputs.HEADS[kind]
    function = forward.task_logits(
      self.config, head, head_outputs.outputs(kind, labels)
    )
    return self._run(
      function,
      rows,
      length,
      batch_size,
      of_positions=bert.reads_positions(head),
    )

  def length(self, wanted: int | None) -> int:
    """Returns `wanted`, else the length in training, else at most 128."""
    return (
      wanted
      or (self.task or {}).get('length')
      or min(128, self.config.positions)
    )

  def check_length(self, length: int) -> None:
    """Raises UserError if the model cannot take rows of this length."""
    if not 3 <= length <= self.config.positions:
      raise UserError(
        f'LENGTH {length} is not between 3 and the {self.config.positions} '
        f'positions of {self.origin}; set LENGTH'
      )

  def check_fills_masks(self) -> None:
    """Raises UserError if there is no masked-LM head."""
    if 'mlm_head' not in self.parameters:
      raise UserError(
        f'{self.origin} has no masked-LM head, which filling masks needs; '
        'choose a checkpoint of pretraining'
      )

  def _task_of(self, *kinds: str) -> dict[str, Any]:
    head_outputs.check(self.task, kinds, self.origin)
    assert self.task is not None
    return self.task

  def _run(
    self,
    function: Callable[[Any, Mapping[str, np.ndarray]], Any],
    rows: Iterable[batching.Row],
    length: int,
    batch_size: int,
    **options: bool,
  ) -> Iterator[Any]:
    return batching.apply(
      functools.partial(function, self.parameters),
      rows,
      length,
      batch_size,
      **options,
    )

  def _rows(
    self, texts: Iterable[Any], length: int, masks: bool = False
  ) -> Iterator[batching.Row]:
    """Tokenizes a few hundred texts at a time, and counts the cut ones."""
    if isinstance(texts, str):
      raise UserError(f'expected a list of texts, got {texts[:40]!r}')
    for some in batching.chunks(texts):
      rows, cut = self.tokenizer.rows(some, length, masks)
      self.cut += cut
      yield from rows
