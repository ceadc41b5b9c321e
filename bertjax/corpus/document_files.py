"""Reads documents from text files and tables, plain or compressed.

    reader = document_files.TextFiles('books/*.txt.gz')
    counts = cleaning.Counts()
    for lines in reader.documents(counts):
      ...  # a list of lines with text; an empty list ends a document

Source: the format of text files is BERT's (google-research/bert).
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from bertjax.corpus import cleaning, warc, web_pages, workers
from bertjax.errors import UserError
from bertjax.text import input_bytes, input_files, input_paths

_SETTING = 'TEXT_FILES'
# Bytes of files of pages for which a further process is worth its start.
_PROCESS_BYTES = 1 << 23


@dataclasses.dataclass(frozen=True)
class TextFiles:
  """Text files: a line is a paragraph or sentence, a blank one ends a document.

  JSON lines, TSV, CSV and Parquet, see `input_files`, instead have a document
  in `text_column` of each object or row; blank lines in it separate paragraphs
  only. HTML and WARC have a document in each page, without what stands around
  its text; WET in each record. All but Parquet may be compressed.

  Attributes:
    patterns: see `input_paths.expand`. The files are read in sorted order, each
      once.
    text_column: the column of text in a table.
    processes: that turn pages into text; None: as many as pay off.
  """

  patterns: str | Sequence[str]
  text_column: str = 'text'
  processes: int | None = None

  def __str__(self) -> str:
    patterns = self.patterns
    return patterns if isinstance(patterns, str) else ', '.join(patterns)

  def paths(self, left_out: list[str] | None = None) -> list[str]:
    """Returns the files, sorted.

    Args:
      left_out: receives what is wrong with the files of a folder that are not
        read.

    Raises:
      UserError: a pattern stands for no file, or for a pipe.
    """
    left_out = [] if left_out is None else left_out
    found = input_paths.expand(self.patterns, _SETTING, left_out, pages=True)
    for path in found:
      if '://' not in path and not os.path.isfile(path):
        raise UserError(
          f'expected files, which are read more than once, got {path}, a pipe '
          f'or device; write it to a file, and set {_SETTING}'
        )
    return found

  def fingerprint(self) -> list[Any]:
    """Returns the names, sizes and modification times of the files."""
    files = [input_paths.fingerprint(x, _SETTING) for x in self.paths()]
    return [self.text_column, files]

  def size(self) -> int:
    """Returns the bytes of all files on disk."""
    return _size(self.paths())

  def documents(self, counts: cleaning.Counts) -> Iterator[list[str]]:
    """Yields lists of lines; an empty list ends a document.

    Raises:
      UserError: a file cannot be read or decompressed, or is no text.
    """
    left_out: list[str] = []
    paths = self.paths(left_out)
    counts.left_out += len(left_out)
    counts.first_left_out = next(iter(left_out), '')
    yield from self.read(paths, counts)

  def read(
    self, paths: Sequence[str], counts: cleaning.Counts
  ) -> Iterator[list[str]]:
    """Yields as `documents` what is in some of the files, in this order."""
    form_of = functools.partial(input_bytes.page_form, setting=_SETTING)
    for of_pages, some in itertools.groupby(paths, lambda x: bool(form_of(x))):
      if of_pages:
        yield from self._of_pages([*some], counts)
        continue
      for path in some:
        lines = counts.lines
        with _unchanged(path):
          yield from self._documents(path, counts)
        _count_file(counts, lines)

  def _of_pages(
    self, paths: Sequence[str], counts: cleaning.Counts
  ) -> Iterator[list[str]]:
    """Yields the texts of pages, which are read some time before."""
    ends: collections.deque[int] = collections.deque()  # pages so far

    def pages() -> Iterator[warc.Page]:
      number = 0
      for path in paths:
        progress = _progress(counts)
        with _unchanged(path):
          for page in web_pages.pages(path, _SETTING, progress):
            number += 1
            yield page
        ends.append(number)

    lines, number = counts.lines, 0
    processes = self.processes or min(
      workers.available(), 1 + _size(paths) // _PROCESS_BYTES
    )
    for name, text in web_pages.texts(pages(), processes):
      while ends and ends[0] == number:
        ends.popleft()
        lines = _count_file(counts, lines)
      number += 1
      if not text.strip():
        _count_page(counts, name)
      elif found := cleaning.lines_of(text, counts):
        yield found
        yield []
    for _ in ends:
      lines = _count_file(counts, lines)

  def _documents(
    self, path: str, counts: cleaning.Counts
  ) -> Iterator[list[str]]:
    progress = _progress(counts)
    form = input_files.form_of(path, _SETTING)
    if form == 'parquet':
      records = input_files.records(path, setting=_SETTING)
      yield from self._of_records(records, path, form, counts)
      counts.file_bytes += input_paths.fingerprint(path, _SETTING)[1]
      return
    blocks = input_bytes.blocks(path, _SETTING, progress)
    texts = cleaning.normalise(cleaning.decode(blocks, counts), counts)
    if form == 'text':
      batches = cleaning.split_lines(texts, counts)
      yield from cleaning.split_documents(batches, counts)
    else:
      broken = functools.partial(_count_malformed, counts, path)
      lines = input_files.split(texts)
      records = input_files.parse(form, lines, path, broken=broken)
      yield from self._of_records(records, path, form, counts)

  def _of_records(
    self,
    records: input_files.Numbered,
    path: str,
    form: str,
    counts: cleaning.Counts,
  ) -> Iterator[list[str]]:
    column = self.text_column
    for number, record in records:
      if column not in record and form != 'jsonl':
        wanted = {column: 'TEXT_COLUMN'}
        input_files.check_columns(path, list(record), wanted)
      text = record.get(column)
      if not isinstance(text, str):
        _count_malformed(counts, path, number)
      elif lines := cleaning.lines_of(text, counts):
        yield lines
        yield []


@contextlib.contextmanager
def _unchanged(path: str) -> Iterator[None]:
  """Raises UserError if the file is changed within."""
  begun = input_paths.fingerprint(path, _SETTING)
  yield
  if input_paths.fingerprint(path, _SETTING) != begun:
    raise UserError(
      f'{path} changed while it was read; let nothing write to it, or set '
      f'{_SETTING} to others'
    )


def _size(paths: Iterable[str]) -> int:
  return sum(input_paths.fingerprint(path, _SETTING)[1] for path in paths)


def _progress(counts: cleaning.Counts) -> Callable[[int], None]:
  """Returns what is told how many bytes of the next file are read."""
  before = counts.file_bytes

  def progress(read: int) -> None:
    counts.file_bytes = before + read

  return progress


def _count_file(counts: cleaning.Counts, lines: int) -> int:
  """Counts a file before which there were so many lines; returns how many."""
  counts.files += 1
  counts.empty_files += counts.lines == lines
  return counts.lines


def _count_page(counts: cleaning.Counts, name: str) -> None:
  counts.first_malformed = counts.first_malformed or name
  counts.malformed += 1


def _count_malformed(counts: cleaning.Counts, path: str, number: int) -> None:
  counts.first_malformed = counts.first_malformed or f'{path}:{number}'
  counts.malformed += 1
