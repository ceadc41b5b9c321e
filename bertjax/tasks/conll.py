"""Tagged sentences in columns, a word a line: the CoNLL format.

    examples = list(conll.read('train.txt'))  # TagExample(('He', ...), ...)
    tags = conll.tags_of(example.tags for example in examples)

Source: the shared tasks of CoNLL-2000 (Tjong Kim Sang and Buchholz 2000) and
CoNLL-2003 (Tjong Kim Sang and De Meulder 2003).
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from bertjax.errors import UserError, expect
from bertjax.tasks.examples import TagExample
from bertjax.text import line_files


def read(
  path: str,
  word_column: int = 0,
  tag_column: int | None = -1,
  separator: str | None = None,
) -> Iterator[TagExample]:
  r"""Yields the sentences of a file.

  'He PRP O\nran VBD B-VP\n\n' becomes TagExample(('He', 'ran'),
  ('O', 'B-VP'), (('He', 'PRP', 'O'), ('ran', 'VBD', 'B-VP'))).

  Args:
    path: a file with a word a line and an empty line, or one that begins with
      -DOCSTART-, between sentences.
    word_column: the index of the column of words; -1 is the last.
    tag_column: that of the tags; None: there are none, or they are not wanted.
    separator: what separates columns; None: any number of spaces and tabs.

  Raises:
    UserError: no file, not UTF-8, a different number of columns in some line,
      no such column, no sentence.
  """
  sentences = _sentences(path, separator)
  first = next(sentences, [])
  some = f'sentences, a word a line, in {path}'
  expect(first, some, first, line_files.SETTINGS)
  _check_columns(len(first[0]), word_column, tag_column, path)
  for lines in itertools.chain([first], sentences):
    columns = list(zip(*lines, strict=True))
    yield TagExample(
      columns[word_column],
      None if tag_column is None else columns[tag_column],
      tuple(lines),
    )


def tags_of(sentences: Iterable[Sequence[str]]) -> tuple[str, ...]:
  """Returns the distinct tags of all sentences, sorted, but with 'O' first.

  >>> tags_of([['O', 'B-VP'], ['B-NP', 'O']])
  ('O', 'B-NP', 'B-VP')
  """
  tags = {tag for sentence in sentences for tag in sentence}
  return tuple(sorted(tags, key=lambda tag: (tag != 'O', tag)))


def _sentences(
  path: str, separator: str | None
) -> Iterator[list[tuple[str, ...]]]:
  # Not str.split(): words contain no-break spaces and the like.
  divide = re.compile(re.escape(separator) if separator else '[ \t]+').split
  first = None
  numbered = enumerate(line_files.lines(path), start=1)
  for between, lines in itertools.groupby(numbered, key=_stands_between):
    if between:
      continue
    sentence = []
    for number, line in lines:
      line = line.removesuffix('\n').removesuffix('\r')
      fields = divide(line if separator else line.strip(' \t'))
      first = first or (number, len(fields))
      if len(fields) != first[1]:
        raise UserError(
          f'expected {first[1]} columns in line {number} of {path}, as in line '
          f'{first[0]}, got {len(fields)}; correct it or set SEPARATOR'
        )
      sentence.append(tuple(fields))
    yield sentence


def _stands_between(numbered: tuple[int, str]) -> bool:
  _, line = numbered
  return not line.strip(' \t\r\n') or line.startswith('-DOCSTART-')


def _check_columns(
  count: int, word_column: int, tag_column: int | None, path: str
) -> None:
  for name, column in (('WORD', word_column), ('TAG', tag_column)):
    valid = column is None or -count <= column < count
    limits = f'from 0 to {count - 1}, or from {-count} to -1'
    what = f'a {name}_COLUMN {limits}, since {path} has {count} columns'
    expect(valid, what, column, f'{name}_COLUMN or SEPARATOR')
  if tag_column is not None and (tag_column - word_column) % count == 0:
    raise UserError(
      f'expected tags beside the words in {path}, got column {word_column} '
      f'of {count} for both; set TAG_COLUMN, WORD_COLUMN or SEPARATOR'
    )
