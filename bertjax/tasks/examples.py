"""What a labelled example is, before it is tokenized.

    TextExample(('A man sings.', 'A man is singing.'), label=4.8)
    TagExample(('Rockwell', 'said'), ('B-NP', 'B-VP'))
    QuestionExample('q1', 'Who?', 'Ada wrote it.', (Answer('Ada', 0),))

Readers yield these, whatever the file; encoders take them. Source: ours.
"""

from typing import NamedTuple


class TextExample(NamedTuple):
  """One text, or a pair, and what it is labelled as.

  Attributes:
    texts: one or two.
    label: name of the class; a number; names of any number of classes
      (multi-label); None where it is not known.
    identifier: of the example in its file, for files of predictions.
  """

  texts: tuple[str, ...]
  label: str | float | tuple[str, ...] | None
  identifier: str | int = 0


class TagExample(NamedTuple):
  """A sentence and a tag for each of its words.

  Attributes:
    words: at least one.
    tags: as many; None where they are not known.
    columns: the fields of each word's line as they stood in the file, for
      files of predictions.
  """

  words: tuple[str, ...]
  tags: tuple[str, ...] | None
  columns: tuple[tuple[str, ...], ...] = ()


class Answer(NamedTuple):
  """A part of a context: its text, and the character where it starts."""

  text: str
  start: int


class QuestionExample(NamedTuple):
  """A question on a context, and the answers that people gave.

  Attributes:
    identifier: of the question.
    question: the text.
    context: the text that holds the answer.
    answers: none of them: it cannot be answered from this context.
    title: of the article, which a split must not divide.
  """

  identifier: str
  question: str
  context: str
  answers: tuple[Answer, ...]
  title: str = ''
