"""A trained model at work: embeds, fills masks, classifies, tags, answers.

    predictor = Predictor.load('runs/books')            # or a Hugging Face
    predictor.embed(['Hello!', 'Good day.'])            # float32 [2, D]
    predictor.fill_mask(['The [MASK] sat.'])  # [[[('cat', 0.31), ...]]]
    Predictor.load('runs/sst2').classify(['Fun!'])  # [{'label': ...}]

Of every method, `length` is the most tokens that are looked at together, [CLS]
and [SEP] included, and `batch_size` how many rows are worked on at a time; a
length beyond the model's positions is a UserError. Source: ours.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.errors import UserError
from bertjax.inference import forward
from bertjax.interop import names
from bertjax.models import bert
from bertjax.models.config import EncoderConfig, choose
from bertjax.runs import trained_model
from bertjax.tasks import head_outputs
from bertjax.text import batching, context_windows, mask_rows, word_rows
from bertjax.text.tokenizer import Tokenizer


class Predictor:
  """Parameters and tokenizer.

  Attributes:
    config: the architecture.
    parameters: nested by name, with the heads that the checkpoint has.
    tokenizer: see `tokenize`.
    origin: where it came from, for messages.
    step: of a run's checkpoint, else None.
    task: of a fine-tuned model, see `interop.source`; None of others.
    cut: texts that were longer than asked for, so far.
  """

  def __init__(
    self,
    config: EncoderConfig,
    parameters: names.Parameters,
    tokenizer: Tokenizer,
    origin: str = 'the model',
    step: int | None = None,
    task: dict | None = None,
  ):
    """Raises UserError where the vocabulary does not fit the token table."""
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
      path: the folder; of fine-tuning with several seeds the best is read.
      step: of a run's checkpoint; None: its best, else its latest.

    Raises:
      UserError: neither of the two, no checkpoint, or a damaged one.
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
      pooling: a name in `functions.POOLINGS`.
      normalize: whether each vector is scaled to length 1.
      length: see above.
      batch_size: see above.
    """
    choose(forward.POOLINGS, pooling, 'POOLING')
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
      top_k: how many tokens.
      length: see above.
      batch_size: see above.

    Returns:
      For each text, for each [MASK] in it, (token, probability), likeliest
      first; nothing where a text has none.

    Raises:
      UserError: no masked-LM head.
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
  ) -> list[dict]:
    """Returns what a classifier says of each, see `task_heads.describe`.

    Args:
      texts: texts, or pairs of texts; what is too long is cut.
      length: see above; None: as in training.
      batch_size: see above.

    Raises:
      UserError: no classifier.
    """
    head_outputs.check(self.task, ('classes', 'number', 'labels'), self.origin)
    length = self.length(length)
    logits = list(self.logits(self._rows(texts, length), length, batch_size))
    return (
      list(
        head_outputs.describe(
          self.task,
          head_outputs.probabilities(self.task['kind'], np.stack(logits)),
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
      UserError: no head for tags.
    """
    head_outputs.check(self.task, ('tags',), self.origin)
    if any(isinstance(sentence, str) for sentence in sentences):
      raise UserError('expected lists of words, got a text; split it')
    length = self.length(length)
    return word_rows.predict(
      self.tokenizer,
      sentences,
      self.task['labels'],
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
      question: the text.
      context: any length; it is looked at in windows, as in training.
      length: see above; None: as in training.
      batch_size: see above.

    Raises:
      UserError: no head for spans.
    """
    head_outputs.check(self.task, ('spans',), self.origin)
    length = self.length(length)
    (found,) = context_windows.predict(
      self.tokenizer,
      [(question, context)],
      length,
      lambda rows: self.logits(rows, length, batch_size),
      self.task.get('stride', context_windows.STRIDE),
    )
    return found

  def logits(
    self, rows: Iterable[batching.Row], length: int, batch_size: int
  ) -> Iterator[np.ndarray]:
    """Yields the logits of the task's head for each row: [C], or [L, C]."""
    self.check_length(length)
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
    """Returns `wanted`, or what a task was trained with, or at most 128."""
    return (
      wanted
      or (self.task or {}).get('length')
      or min(128, self.config.positions)
    )

  def check_length(self, length: int) -> None:
    """Raises UserError where the model has no such positions."""
    if not 3 <= length <= self.config.positions:
      raise UserError(
        f'LENGTH {length} is not between 3 and the '
        f'{self.config.positions} positions of {self.origin}; '
        'set LENGTH'
      )

  def check_fills_masks(self) -> None:
    """Raises UserError where there is no masked-LM head."""
    if 'mlm_head' not in self.parameters:
      raise UserError(
        f'{self.origin} has no masked-LM head, which filling masks needs; '
        'choose a checkpoint of pretraining'
      )

  def _run(self, function, rows, length, batch_size, **options) -> Iterator:
    return batching.apply(
      functools.partial(function, self.parameters),
      rows,
      length,
      batch_size,
      **options,
    )

  def _rows(
    self, texts: Iterable, length: int, masks: bool = False
  ) -> Iterator[batching.Row]:
    """Tokenizes a few hundred texts at a time."""
    if isinstance(texts, str):
      raise UserError(f'expected a list of texts, got {texts[:40]!r}')
    for some in batching.chunks(texts):
      rows, cut = self.tokenizer.rows(some, length, masks)
      self.cut += cut
      yield from rows
