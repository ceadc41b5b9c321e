"""Encodes examples as rows with labels; decodes logits and scores them.

    >>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
    >>> tokenizer = Tokenizer([*SPECIAL_TOKENS, 'fun'], cased=False)
    >>> task = Task('mood', 'classes', labels=('bad', 'good'))
    >>> codec = make(task, tokenizer, length=128)
    >>> examples = [TextExample(('Fun',), 'good'), TextExample(('a',), 'bad')]
    >>> [(row.ids, int(label)) for row, label in codec.rows(examples)]
    [([2, 5, 3], 1), ([2, 1, 3], 0)]
    >>> logits_of = lambda rows: (np.zeros(2) for _ in rows)
    >>> codec.predict(examples, logits_of).tolist()
    [[0.5, 0.5], [0.5, 0.5]]

`codec.score(examples, found)` gives the task's metrics of what `predict` or
`baseline` returned. `logits_of` maps an iterable of rows to an iterator of the
logits in the same order: float32[C], or float32[L, C] if the head has logits
for each position. There is one class for each shape of an example.
"""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

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
from bertjax.tasks.labelled_batches import Label
from bertjax.tasks.specs import Task
from bertjax.text import context_windows, word_rows
from bertjax.text.batching import Row, chunks
from bertjax.text.tokenizer import Tokenizer

LogitsOf = Callable[[Iterable[Row]], Iterator[np.ndarray]]


class Codec(Protocol):
  """What the classes below have in common; the types of examples differ.

  Attributes:
    task: gives kind, labels and metrics.
    tokenizer: the model's.
    length: the most tokens of a row.
    cut: how many rows lost tokens so far; 0 if examples are divided instead.
  """

  task: Task
  tokenizer: Tokenizer
  length: int
  cut: int

  def rows(self, examples: Iterable[Any]) -> Iterator[tuple[Row, Label]]:
    """Yields rows with their labels, for `labelled_batches.Rows.of`."""

  def predict(self, examples: Iterable[Any], logits_of: LogitsOf) -> Any:
    """Returns the model's answers to the examples."""

  def score(self, examples: Sequence[Any], found: Any) -> dict[str, float]:
    """Returns name -> value of the metrics of such answers."""

  def baseline(self, train: Iterable[Any], examples: Sequence[Any]) -> Any:
    """Returns trivial answers, which a model must beat."""


def make(
  task: Task,
  tokenizer: Tokenizer,
  length: int,
  stride: int = context_windows.STRIDE,
) -> Codec:
  """Returns the codec of the task's kind; `stride` is that of 'spans'."""
  if task.kind == 'tags':
    return TagCodec(task, tokenizer, length)
  if task.kind == 'spans':
    return SpanCodec(task, tokenizer, length, stride)
  return TextCodec(task, tokenizer, length)


@dataclasses.dataclass
class TextCodec:
  """A text or a pair with one class, a number, or several labels."""

  task: Task
  tokenizer: Tokenizer
  length: int
  cut: int = 0

  def rows(
    self, examples: Iterable[TextExample]
  ) -> Iterator[tuple[Row, Label]]:
    """Yields each row with its label, for `labelled_batches.Rows.of`."""
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
    """Returns the task's metrics of what `predict` or `baseline` returned."""
    if self.task.kind == 'classes':
      found = found.argmax(axis=-1)
    elif self.task.kind == 'labels':
      found = found > 0.5
    labels = self.labels(examples)
    if self.task.kind == 'labels':
      labels = labels > 0.5
    return metrics.score(self.task.metrics, labels, found)

  def baseline(
    self, train: Iterable[TextExample], examples: Sequence[TextExample]
  ) -> np.ndarray:
    """Returns the best constant answer, in the form of `predict`."""
    del train
    found = metrics.constant(self.task.kind, self.labels(examples))
    if self.task.kind == 'classes':
      return np.eye(self.task.outputs)[found]
    return found.astype(np.float32)

  def labels(self, examples: Sequence[TextExample]) -> np.ndarray:
    """Returns class ids int32[n], numbers float32[n], or float32[n, C].

    Raises:
      UserError: an example has no label, or one that is not of the task.
    """
    known = {label: i for i, label in enumerate(self.task.labels)}
    if any(example.label is None for example in examples):
      raise UserError(
        'expected labels to train or to score on, but an example has none; '
        'set LABEL_COLUMN, or give another file'
      )
    if self.task.kind == 'number':
      return np.asarray([example.label for example in examples], np.float32)
    labels_of = [
      example.label if isinstance(example.label, tuple) else (example.label,)
      for example in examples
    ]
    # Labels of these kinds are names; anything else is reported as unknown.
    names = cast(list[tuple[str, ...]], labels_of)
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
  """A sentence with a tag for each word, which its first token bears."""

  task: Task
  tokenizer: Tokenizer
  length: int
  cut: int = 0
  reported: bool = False  # whether unknown tags were

  def rows(self, examples: Iterable[TagExample]) -> Iterator[tuple[Row, Label]]:
    """Yields the pieces of each sentence with a tag id for each token."""
    known = {label: i for i, label in enumerate(self.task.labels)}
    for some in chunks(examples):
      sentences = word_rows.make(
        self.tokenizer, [example.words for example in some], self.length
      )
      for example, pieces in zip(some, sentences, strict=True):
        assert example.tags is not None  # only `predict` goes without
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

  def score(
    self, examples: Sequence[TagExample], found: Sequence[Sequence[str]]
  ) -> dict[str, float]:
    """Returns the task's metrics, see `tag_metrics.entity_scores`."""
    gold = [example.tags or () for example in examples]
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
  """A question whose answer is a part of its context."""

  task: Task
  tokenizer: Tokenizer
  length: int
  stride: int
  cut: int = 0

  def rows(
    self, examples: Iterable[QuestionExample]
  ) -> Iterator[tuple[Row, Label]]:
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
    """Returns identifier -> the answers to a question."""
    found: dict[str, context_windows.Answers] = {}
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
    self,
    examples: Sequence[QuestionExample],
    found: Mapping[str, context_windows.Answers | str],
  ) -> dict[str, float]:
    """Returns exact match and F1, from 0 to 1; see `squad_metrics.score`.

    If some questions have no answer, the prediction is '' where the
    null_difference exceeds `threshold`, the best one for these examples.
    """
    texts = {
      key: x if isinstance(x, str) else x.text for key, x in found.items()
    }
    answers = {
      key: x
      for key, x in found.items()
      if isinstance(x, context_windows.Answers)
    }
    threshold = None
    unanswerable = any(not example.answers for example in examples)
    if unanswerable and len(answers) == len(found):
      threshold, _ = squad_metrics.best_threshold(
        examples,
        {key: (x.text, x.null_difference) for key, x in answers.items()},
      )
      texts = {
        key: '' if x.null_difference > threshold else x.text
        for key, x in answers.items()
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
    """Returns the first words of each context, as many as the median answer."""
    lengths = [
      len(answer.text.split())
      for example in train
      for answer in example.answers[:1]
    ]
    words = int(statistics.median(lengths)) if lengths else 1
    return squad.first_words(examples, words)
