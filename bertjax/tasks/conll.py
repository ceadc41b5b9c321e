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
from bertjax.tasks import tag_schemes
from bertjax.tasks.examples import TagExample
from bertjax.text import input_bytes, input_files

# More words without an empty line are no sentence, and would fill the memory.
_LONGEST_SENTENCE = 1 << 16
_LONGEST_FILE = 100  # words of a file with tags for one sentence
_STOPS = frozenset('.!?。')


def read(
  path: str,
  word_column: int = 0,
  tag_column: int | None = -1,
  separator: str | None = None,
  setting: str = input_bytes.FILES,
  fixed: bool = False,
) -> Iterator[TagExample]:
  r"""Yields the sentences of a file.

  'He PRP O\nran VBD B-VP\n\n' becomes TagExample(('He', 'ran'),
  ('O', 'B-VP'), (('He', 'PRP', 'O'), ('ran', 'VBD', 'B-VP')), (path, 1)).

  Args:
    path: a file with a word a line and an empty line, or one that begins with
      -DOCSTART-, between sentences.
    word_column: the index of the column of words; -1 is the last.
    tag_column: that of the tags; None: there are none, or they are not wanted.
    separator: what separates columns; None: any number of spaces and tabs.
    setting: names the file, for messages.
    fixed: whether the columns are those of training, for messages.

  Raises:
    UserError: no file, not UTF-8, a different number of columns in some line,
      no such column, no sentence, no empty lines between them, tags that are of
      no scheme.
  """
  if separator == r'\t':  # from a shell
    separator = '\t'
  fix = f'{setting} to a file in the columns of training' if fixed else ''
  sentences = _sentences(path, separator, setting, fix or 'SEPARATOR')
  some = list(itertools.islice(sentences, 2))
  expect(some, f'sentences, a word a line, in {path}', some, setting)
  _check_columns(len(some[0][1][0]), word_column, tag_column, path, fix)
  schemes = tag_schemes.Check(path)
  if tag_column is not None and len(some) == 1:
    _check_sentence([fields[word_column] for fields in some[0][1]], path)
  for start, lines in itertools.chain(some, sentences):
    columns = list(zip(*lines, strict=True))
    tags = None if tag_column is None else columns[tag_column]
    if tags is not None:
      schemes.add(tags, start)
    place = (path, start)
    yield TagExample(columns[word_column], tags, tuple(lines), place)


def tags_of(sentences: Iterable[Sequence[str]]) -> tuple[str, ...]:
  """Returns the distinct tags of all sentences, sorted, but with 'O' first.

  >>> tags_of([['O', 'B-VP'], ['B-NP', 'O']])
  ('O', 'B-NP', 'B-VP')
  """
  tags = {tag for sentence in sentences for tag in sentence}
  return tuple(sorted(tags, key=lambda tag: (tag != 'O', tag)))


def _sentences(
  path: str, separator: str | None, setting: str, fix: str
) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
  """Yields the number of the first line, and the fields of each."""
  # Not str.split(): words contain no-break spaces and the like.
  divide = re.compile(re.escape(separator) if separator else '[ \t]+').split
  first = None
  numbered = enumerate(input_files.lines(path, setting), start=1)
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
          f'{first[0]}, got {len(fields)}; correct it or set {fix}'
        )
      sentence.append(tuple(fields))
      if len(sentence) > _LONGEST_SENTENCE:
        raise UserError(
          f'expected an empty line after each sentence of {path}, got more '
          f'than {_LONGEST_SENTENCE:,} words before line {number}; add them'
        )
    yield number - len(sentence) + 1, sentence


def _check_sentence(words: Sequence[str], path: str) -> None:
  """Refuses the only sentence of a file if it must be several."""
  if len(words) > _LONGEST_FILE or not _STOPS.isdisjoint(words[:-1]):
    raise UserError(
      f'expected an empty line after each sentence of {path}, got one sentence '
      f'of {len(words):,} words; add empty lines'
    )


def _stands_between(numbered: tuple[int, str]) -> bool:
  _, line = numbered
  return not line.strip(' \t\r\n') or line.startswith('-DOCSTART-')


def _check_columns(
  count: int, word_column: int, tag_column: int | None, path: str, fix: str
) -> None:
  for name, column in (('WORD', word_column), ('TAG', tag_column)):
    valid = column is None or -count <= column < count
    limits = f'from 0 to {count - 1}, or from {-count} to -1'
    what = f'a {name}_COLUMN {limits}, since {path} has {count} columns'
    expect(valid, what, column, fix or f'{name}_COLUMN or SEPARATOR')
  if tag_column is not None and (tag_column - word_column) % count == 0:
    raise UserError(
      f'expected tags beside the words in {path}, got column {word_column} '
      f'of {count} for both; set '
      f'{fix or "TAG_COLUMN, WORD_COLUMN or SEPARATOR"}'
    )
