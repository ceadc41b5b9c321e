"""Labelled examples before they are tokenized, and what a model reads of them.

    >>> TextExample(('A man sings.', 'A man is singing.'), label=4.8).label
    4.8
    >>> TagExample(('Rockwell', 'said'), ('B-NP', 'B-VP')).words
    ('Rockwell', 'said')
    >>> QuestionExample('q1', 'Who?', 'Ada did.', (Answer('Ada', 0),)).answers
    (Answer(text='Ada', start=0),)

The readers of all files yield these; kinds of tasks take them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from bertjax.text.batching import Row

# Each row with what the model gives for it, and each example with its answer.
Results = Iterable[tuple[Row, Any]]
Answered = Iterator[tuple[Any, Any]]


class TextExample(NamedTuple):
  """One text, or a pair, and its label.

  Attributes:
    texts: one or two.
    label: the name of a class; a number; the names of any number of classes
      (multi-label); None if unknown.
    identifier: what identifies it in its file, for files of predictions.
    record: the fields of its file, for files of predictions.
  """

  texts: tuple[str, ...]
  label: str | float | tuple[str, ...] | None = None
  identifier: str | int = 0
  record: Mapping[str, Any] = {}

  @classmethod
  def from_json(cls, fields: Sequence[Any]) -> Self:
    """Returns an example from its fields, in which lists stand for tuples."""
    return cls(*map(_tuples, fields))


class TagExample(NamedTuple):
  """A sentence and a tag for each of its words.

  Attributes:
    words: at least one.
    tags: as many; None if unknown.
    columns: the fields of each word's line in the file, for files of
      predictions.
    place: the file, and the number of the first word's line; ('', 0): none.
  """

  words: tuple[str, ...]
  tags: tuple[str, ...] | None = None
  columns: tuple[tuple[str, ...], ...] = ()
  place: tuple[str, int] = ('', 0)

  @classmethod
  def from_json(cls, fields: Sequence[Any]) -> Self:
    """Returns an example from its fields, in which lists stand for tuples."""
    return cls(*map(_tuples, fields))


class Answer(NamedTuple):
  """A part of a context: its text, and the character where it starts."""

  text: str
  start: int


class QuestionExample(NamedTuple):
  """A question on a context, and the answers that people gave.

  Attributes:
    identifier: unique in its file.
    question: its text.
    context: the text that may hold the answer.
    answers: empty if the context does not answer the question.
    title: that of the article; a split must not divide an article.
  """

  identifier: str
  question: str
  context: str
  answers: tuple[Answer, ...] = ()
  title: str = ''

  @classmethod
  def from_json(cls, fields: Sequence[Any]) -> Self:
    """Returns an example from its fields, in which lists stand for tuples."""
    identifier, question, context, answers, title = fields
    found = tuple(Answer(*answer) for answer in answers)
    return cls(identifier, question, context, found, title)


class Part(NamedTuple):
  """What a row was made of: its `source`.

  Attributes:
    example: the whole example.
    part: what else decoding needs, such as a window of a context.
    last: whether it is the last row of its example.
    cut: whether the row lacks some of the tokens.
  """

  example: Any
  part: Any = None
  last: bool = True
  cut: bool = False


def join(found: Results) -> Iterator[tuple[Any, list[Any], list[Any]]]:
  """Yields each example, with the parts and the results of its rows.

  Args:
    found: rows that have a `Part` as their source, and their results.
  """
  parts: list[Any] = []
  results: list[Any] = []
  for row, result in found:
    source: Part = row.source
    parts.append(source.part)
    results.append(result)
    if source.last:
      yield source.example, parts, results
      parts, results = [], []


def _tuples(value: Any) -> Any:
  return tuple(map(_tuples, value)) if isinstance(value, list) else value
