"""Examples as rows with labels, and logits as predictions and scores.

    encoder = encoders.make(task, tokenizer, length=128)
    rows = encoder.rows(examples)                    # for Rows.of
    found = encoder.predict(examples, logits_of)     # classes, tags, answers
    values = encoder.score(examples, found)          # {'accuracy': ..., ...}
    values = encoder.score(examples, encoder.baseline(train, examples))

`logits_of` maps an iterable of rows to an iterator of their logits, in their
order: float32[C], or float32[L, C] where the head gives each position's. One
class for each shape of an example. Source: ours.
"""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from bertjax.errors import UserError
from bertjax.tasks import (
  head_outputs,
  labelled_batches,
  metrics,
  squad,
  squad_metrics,
  tag_metrics,
)
from bertjax.tasks.examples import QuestionExample, TagExample, TextExample
from bertjax.tasks.specs import Task
from bertjax.text import context_windows, word_rows
from bertjax.text.batching import Row, chunks
from bertjax.text.tokenizer import Tokenizer

LogitsOf = Callable[[Iterable[Row]], Iterator[np.ndarray]]


def make(
  task: Task,
  tokenizer: Tokenizer,
  length: int,
  stride: int = context_windows.STRIDE,
):
  """Returns the encoder of the task's kind."""
  if task.kind == 'tags':
    return TagCodec(task, tokenizer, length)
  if task.kind == 'spans':
    return SpanCodec(task, tokenizer, length, stride)
  return TextCodec(task, tokenizer, length)


@dataclasses.dataclass
class TextCodec:
  """A text or a pair with one class, a number, or several labels.

  Attributes:
    task: gives kind, labels and metrics.
    tokenizer: see `tokenize`.
    length: the most tokens of a row; longer ones are cut, and counted in
    cut: how many were.
  """

  task: Task
  tokenizer: Tokenizer
  length: int
  cut: int = 0

  def rows(
    self, examples: Iterable[TextExample]
  ) -> Iterator[tuple[Row, object]]:
    """Yields each row with its label, as `batches.Rows` takes it."""
    for some in chunks(examples):
      labels = self.labels(some)
      yield from zip(self._rows(some), labels, strict=True)

  def predict(
    self, examples: Iterable[TextExample], logits_of: LogitsOf
  ) -> np.ndarray:
    """Returns probabilities [n, C] of classes or labels, or numbers [n]."""
    logits = np.stack(
      list(
        logits_of(row for some in chunks(examples) for row in self._rows(some))
      )
    )
    return head_outputs.probabilities(self.task.kind, logits)

  def score(
    self, examples: Sequence[TextExample], found: np.ndarray
  ) -> dict[str, float]:
    """Returns the task's metrics of what `predict` or `baseline` gave."""
    if self.task.kind == 'classes':
      found = found.argmax(axis=-1)
    elif self.task.kind == 'labels':
      found = found > 0.5
    labels = self.labels(examples)
    if self.task.kind == 'labels':
      labels = labels > 0.5
    return metrics.score(self.task.metrics, labels, found)

  def baseline(
    self, train: Sequence, examples: Sequence[TextExample]
  ) -> np.ndarray:
    """Returns the best constant answer, as `predict` would."""
    del train
    found = metrics.constant(self.task.kind, self.labels(examples))
    if self.task.kind == 'classes':
      return np.eye(self.task.outputs)[found]
    return found.astype(np.float32)

  def labels(self, examples: Sequence[TextExample]) -> np.ndarray:
    """Returns class ids int32[n], numbers float32[n], or float32[n, C].

    Raises:
      UserError: no label, or one that is none of the task's.
    """
    known = {label: i for i, label in enumerate(self.task.labels)}
    if any(example.label is None for example in examples):
      raise UserError(
        'expected labels to train or to score on, but an example '
        'has none; set LABEL_COLUMN, or another file'
      )
    if self.task.kind == 'number':
      return np.asarray([example.label for example in examples], np.float32)
    names = [
      example.label if isinstance(example.label, tuple) else (example.label,)
      for example in examples
    ]
    unknown = sorted({x for some in names for x in some} - set(known))
    if unknown:
      raise UserError(
        f'the labels {", ".join(map(repr, unknown[:3]))} do not occur in '
        f'training, which has {", ".join(map(repr, self.task.labels[:9]))}'
      )
    if self.task.kind == 'classes':
      return np.asarray([known[name] for (name,) in names], np.int32)
    labels = np.zeros((len(names), len(known)), np.float32)
    for row, some in enumerate(names):
      labels[row, [known[name] for name in some]] = 1
    return labels

  def _rows(self, examples: Sequence[TextExample]) -> list[Row]:
    rows, cut = self.tokenizer.rows(
      [example.texts for example in examples], self.length
    )
    self.cut += cut
    return rows


@dataclasses.dataclass
class TagCodec:
  """A sentence with a tag a word, on the first token of each word."""

  task: Task
  tokenizer: Tokenizer
  length: int
  reported: bool = False  # tags that are not known

  def rows(
    self, examples: Iterable[TagExample]
  ) -> Iterator[tuple[Row, object]]:
    """Yields the pieces of each sentence with a tag id for each token."""
    known = {label: i for i, label in enumerate(self.task.labels)}
    for some in chunks(examples):
      sentences = word_rows.make(
        self.tokenizer, [example.words for example in some], self.length
      )
      for example, pieces in zip(some, sentences, strict=True):
        for piece in pieces:
          ids = [labelled_batches.NO_TAG] * len(piece.row.ids)
          for word, place in enumerate(piece.first, start=piece.start):
            ids[place] = known[example.tags[word]]
          yield piece.row, ids

  def predict(
    self, examples: Iterable[TagExample], logits_of: LogitsOf
  ) -> list[list[str]]:
    """Returns a tag for each word of each sentence."""
    return [
      tags
      for some in chunks(examples)
      for tags in word_rows.predict(
        self.tokenizer,
        [example.words for example in some],
        self.task.labels,
        self.length,
        logits_of,
      )
    ]

  def score(self, examples: Sequence[TagExample], found) -> dict[str, float]:
    """Returns entity F1 (of chunks), or accuracy alone, of tags."""
    gold = [example.tags for example in examples]
    known = set(self.task.labels)
    unknown = sum(tag not in known for tags in gold for tag in tags)
    if unknown and not self.reported:
      print(
        f'{unknown:,} words have tags that training never had, and count '
        'as errors'
      )
      self.reported = True
    values = tag_metrics.entity_scores(gold, found)
    return {name: values[name] for name in self.task.metrics}

  def baseline(
    self, train: Iterable[TagExample], examples: Sequence[TagExample]
  ) -> list[list[str]]:
    """Returns each word's most frequent tag in training."""
    return tag_metrics.most_frequent_tag(train, examples)


@dataclasses.dataclass
class SpanCodec:
  """A question on a context, answered by a part of it."""

  task: Task
  tokenizer: Tokenizer
  length: int
  stride: int

  def rows(
    self, examples: Iterable[QuestionExample]
  ) -> Iterator[tuple[Row, object]]:
    """Yields windows with the first and last token of the first answer."""
    for example in examples:
      for window in context_windows.make(
        self.tokenizer,
        example.question,
        example.context,
        self.length,
        self.stride,
      ):
        span = (0, 0)
        if example.answers:
          answer = example.answers[0]
          span = context_windows.token_span(
            window, answer.start, answer.start + len(answer.text)
          )
        yield window.row, span

  def predict(
    self, examples: Iterable[QuestionExample], logits_of: LogitsOf
  ) -> dict[str, context_windows.Answers]:
    """Returns the answers to each question by its identifier."""
    found = {}
    for some in chunks(examples):
      answers = context_windows.predict(
        self.tokenizer,
        [(x.question, x.context) for x in some],
        self.length,
        logits_of,
        self.stride,
      )
      found |= zip([x.identifier for x in some], answers, strict=True)
    return found

  def score(
    self, examples: Sequence[QuestionExample], found
  ) -> dict[str, float]:
    """Returns exact match and F1, of 0 to 1; see `squad_metrics.score`.

    Where some questions have no answer, '' stands for those whose
    null_difference exceeds the threshold that is best for these examples.
    """
    texts = {key: getattr(x, 'text', x) for key, x in found.items()}
    threshold = None
    if any(not example.answers for example in examples) and all(
      isinstance(x, context_windows.Answers) for x in found.values()
    ):
      threshold, _ = squad_metrics.best_threshold(
        examples, {key: (x.text, x.null_difference) for key, x in found.items()}
      )
      texts = {
        key: '' if found[key].null_difference > threshold else text
        for key, text in texts.items()
      }
    values = {
      k: v / 100 for k, v in squad_metrics.score(examples, texts).items()
    }
    return values | ({} if threshold is None else {'threshold': threshold})

  def baseline(
    self,
    train: Iterable[QuestionExample],
    examples: Sequence[QuestionExample],
  ) -> dict[str, str]:
    """Returns the first words of each context, as many as answers have."""
    lengths = [
      len(answer.text.split())
      for example in train
      for answer in example.answers[:1]
    ]
    words = int(statistics.median(lengths)) if lengths else 1
    return squad.first_words(examples, words)
