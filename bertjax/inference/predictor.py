"""A trained model that embeds, fills masks, classifies, tags and answers.

    predictor = Predictor.load('runs/books')  # or a Hugging Face directory
    predictor.embed(['Hello!', 'Good day.'])  # float32[2, D]
    predictor.fill_mask(['The [MASK] sat.'])  # [[[('cat', 0.31), ...]]]
    Predictor.load('runs/sst2').classify(['Fun!'])  # [{'label': ...}]

In every method, `length` is the most tokens of a row, [CLS] and [SEP] included;
None is the length in training. `batch_size` is the most rows of a batch. A
length beyond the model's positions is a UserError.
"""

import dataclasses
import functools
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.errors import UserError, expect
from bertjax.inference import forward
from bertjax.interop import names
from bertjax.models import bert
from bertjax.models.config import EncoderConfig
from bertjax.runs import averaging, trained_model
from bertjax.runs.progress_line import wait
from bertjax.tasks import kinds
from bertjax.tasks.examples import QuestionExample, TagExample, TextExample
from bertjax.tasks.specs import Task
from bertjax.text import batching, input_files
from bertjax.text.batching import Row
from bertjax.text.context_windows import Answers
from bertjax.text.tokenizer import Tokenizer
from bertjax.values import Count, checked


@dataclasses.dataclass(eq=False, repr=False)
class Predictor:
  """A model's parameters and tokenizer.

  Attributes:
    config: the architecture.
    parameters: nested by name, with the heads that the checkpoint has.
    tokenizer: the model's.
    origin: where the model came from, for messages.
    step: of a run's checkpoint, else None.
    task: what the model was fine-tuned for, else None.
    averaged: steps of the checkpoints whose average it is.
    cut: how many texts were longer than `length` so far.
  """

  config: EncoderConfig
  parameters: names.Parameters
  tokenizer: Tokenizer
  origin: str = 'the model'
  step: int | None = None
  task: Task | None = None
  averaged: tuple[int, ...] = ()
  cut: int = dataclasses.field(default=0, init=False)

  def __post_init__(self) -> None:
    """Raises UserError if the vocabulary does not fit the token table."""
    self.tokenizer.check_fits(self.config.vocabulary_size, self.origin)
    self.parameters = jax.tree.map(jnp.asarray, self.parameters)

  @classmethod
  def load(
    cls,
    model: str,
    step: int | None = None,
    average: int | None = None,
    decay: float = 1.0,
  ) -> 'Predictor':
    """Reads a trained model.

    Args:
      model: a run, the folder of a fine-tuning's seeds, of which the best is
        read, or a Hugging Face directory.
      step: of a run's checkpoint; None: its best, else its latest.
      average: how many of a run's checkpoints up to `step` are averaged; None:
        none are.
      decay: see `averaging.read`.

    Raises:
      UserError: see `trained_model.read` and `averaging.read`.
    """
    expect(isinstance(model, str | os.PathLike), 'a folder', model, 'MODEL')
    with wait(f'reading {model}'):
      if average is None:
        found = trained_model.read(os.fspath(model), step)
      else:
        found = averaging.read(os.fspath(model), average, decay, step)
    length = {'length': min(128, found.config.positions)}
    task = kinds.of_json(length | found.task) if found.task else None
    tokenizer = Tokenizer.load(found.path)
    return cls(
      found.config,
      found.parameters,
      tokenizer,
      model,
      found.step,
      task,
      found.averaged,
    )

  @checked
  def embed(
    self,
    texts: Iterable[str],
    pooling: str = 'mean',
    normalize: bool = False,
    length: Count = 128,
    batch_size: Count = 32,
  ) -> np.ndarray:
    """Returns a vector for each text: float32[n, D], in their order.

    Args:
      texts: any; one that is too long is cut.
      pooling: a name in `poolings.POOLINGS`.
      normalize: whether to scale each vector to length 1.

    Raises:
      UserError: there is no such pooling.
    """
    task = Task('embed', 'vectors', length=length)
    function = forward.embed(self.config, pooling, normalize)
    found = self._list(task, self._texts(texts), batch_size, function)
    return np.array(found, np.float32).reshape(len(found), self.config.width)

  @checked
  def fill_mask(
    self,
    texts: Iterable[str],
    top_k: Count = 5,
    length: Count = 128,
    batch_size: Count = 32,
  ) -> list[list[list[tuple[str, float]]]]:
    """Returns the likeliest tokens for each [MASK] of each text.

    Args:
      texts: with '[MASK]' in them, within `length` tokens.
      top_k: how many tokens per [MASK].

    Returns:
      for each text, for each [MASK] in it, pairs (token, probability), the
      likeliest first.

    Raises:
      UserError: the model has no masked-LM head.
    """
    task = Task('fill_mask', 'masks', length=length)
    function = self.filling(top_k)
    found = self._list(task, self._texts(texts), batch_size, function)
    return [
      [[(x['token'], x['probability']) for x in mask] for mask in each['masks']]
      for each in found
    ]

  @checked
  def classify(
    self,
    texts: Iterable[str | Sequence[str]],
    length: Count | None = None,
    batch_size: Count = 32,
  ) -> list[dict[str, Any]]:
    """Returns a prediction for each text, see `tasks.text_labels`.

    Args:
      texts: texts, or pairs of texts; what is too long is cut.

    Raises:
      UserError: the model is no classifier.
    """
    task = self.task_of(length, *kinds.of_texts())
    return self._list(task, self._texts(texts), batch_size)

  @checked
  def tag(
    self,
    sentences: Iterable[Sequence[str]],
    length: Count | None = None,
    batch_size: Count = 32,
  ) -> list[list[str]]:
    """Returns a tag for each word of each sentence.

    Args:
      sentences: each a list of words; a long one is divided, none is cut.

    Raises:
      UserError: the model has no head for tags.
    """
    task = self.task_of(length, 'tags')
    sentences = _parts(sentences, 'sentences', 'a list of words')
    examples = map(TagExample, sentences)
    return self._list(task, examples, batch_size)

  @checked
  def answer(
    self,
    question: str,
    context: str,
    length: Count | None = None,
    batch_size: Count = 32,
  ) -> Answers:
    """Returns the parts of a context that answer a question, best first.

    Args:
      question: a text.
      context: a text of any length; it is read in windows, as in training.

    Raises:
      UserError: the model has no head for spans.
    """
    task = self.task_of(length, 'spans')
    example = QuestionExample('', question, context)
    (found,) = self._list(task, [example], batch_size)
    return found

  @checked
  def answers(
    self,
    task: Task,
    examples: Iterable[Any],
    batch_size: Count = 32,
    function: forward.Function | None = None,
  ) -> Iterator[tuple[Any, Any]]:
    """Returns each example with the model's answer, see `kinds.KINDS`.

    Args:
      task: what to predict, and the length of rows.
      examples: of the kind of the task, any number.
      function: (parameters, batch) -> the results of each sequence; None: the
        logits of the task's head.

    Raises:
      UserError: see `check_length`.
    """
    self.check_length(task.length)
    head = None
    if function is None:
      head = kinds.head_of(task)
      outputs = kinds.find(task.kind).outputs(task)
      function = forward.task_logits(self.config, head, outputs)
    of_positions = head is not None and bert.reads_positions(head)
    compute = functools.partial(function, self.parameters)

    def run(rows: Iterable[Row]) -> Iterator[tuple[Row, Any]]:
      for row, result in batching.apply(
        compute, rows, task.length, batch_size, of_positions=of_positions
      ):
        self.cut += row.source.cut
        yield row, result

    return kinds.answers(task, self.tokenizer, examples, run)

  @checked
  def filling(self, top_k: Count) -> forward.Function:
    """Returns the function that `answers` takes for a task of 'masks'.

    Raises:
      UserError: `top_k` is not positive or more than there are tokens, or the
        model has no masked-LM head.
    """
    self.check_fills_masks()
    known = len(self.tokenizer.tokens)
    what = f'at most the {known:,} tokens of the vocabulary'
    expect(top_k <= known, what, top_k, 'TOP_K')
    return forward.fill_mask(self.config, known, top_k)

  def task_of(self, length: int | None, *wanted: str) -> Task:
    """Returns what the model was fine-tuned for, with `length` if it is given.

    Raises:
      UserError: it was not fine-tuned for one of the kinds `wanted`.
    """
    task = kinds.check(self.task, wanted, self.origin)
    return dataclasses.replace(task, length=length or task.length)

  def length(self, wanted: int | None) -> int:
    """Returns `wanted`, else the length in training, else at most 128."""
    return wanted or (
      self.task.length if self.task else min(128, self.config.positions)
    )

  def check_length(self, length: int) -> None:
    """Raises UserError if the model cannot take rows of this length."""
    most = self.config.positions
    what = f'a LENGTH of 3 to the {most} positions of {self.origin}'
    expect(3 <= length <= most, what, length, 'LENGTH')

  def check_fills_masks(self) -> None:
    """Raises UserError if there is no masked-LM head."""
    config = self.config
    # That of ModernBERT may have no more than the head of predictions.
    bare = (
      config.shared_head and config.tied_decoder and not config.decoder_bias
    )
    head = 'prediction_head' if bare and not self.task else 'mlm_head'
    if head not in self.parameters:
      raise UserError(
        f'{self.origin} has no masked-LM head, which filling masks needs; '
        'set MODEL to a checkpoint of pretraining'
      )

  def _list(
    self,
    task: Task,
    examples: Iterable[Any],
    batch_size: int,
    function: forward.Function | None = None,
  ) -> list[Any]:
    answers = self.answers(task, examples, batch_size, function)
    return [answer for _, answer in answers]

  def _texts(self, texts: Iterable[Any]) -> Iterator[TextExample]:
    return map(TextExample, _parts(texts, 'texts', 'a text or a pair of texts'))


def _parts(
  items: Iterable[Any], name: str, what: str
) -> Iterator[tuple[str, ...]]:
  """Returns the texts in each item, without lone surrogates.

  Args:
    items: a list of what is `what`, or something like one; it is read lazily.
    name: of the parameter, for the message.
    what: an item is to be.
  """
  # Of these an iterator gives the keys, the columns, or any order.
  unfit = isinstance(items, str | bytes | Mapping | set | frozenset)
  if unfit or not hasattr(items, '__iter__') or hasattr(items, 'columns'):
    got = ' '.join(reprlib.repr(items).split())  # a table has lines
    raise UserError(
      f'expected a list of {name}, got {got}; '
      'put [ ] around one, and take one column of a table'
    )

  def parts(item: Any) -> tuple[str, ...]:
    is_words = name == 'sentences'
    found = (item,) if isinstance(item, str) and not is_words else item
    fits = isinstance(found, list | tuple | np.ndarray)
    fits = fits and (is_words or len(found) in (1, 2))
    fits = fits and all(isinstance(part, str) for part in found)
    expect(fits, f'{what} in {name}', item, name)
    return tuple(map(input_files.repair, found))

  return map(parts, items)
