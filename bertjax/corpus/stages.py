"""The stages of a preparation on a cluster, as functions of one element.

    count = MAKERS['count_words'](folder, threshold=0, cased=False)
    dict(count(7))  # word -> how often it occurs in unit 7

What makes them takes a `SharedFolder` and arguments that JSON can hold, so that
a machine needs no more than a name and these.
"""

import itertools
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow

from bertjax.corpus import kept_text, spool, steps, units
from bertjax.corpus.shared_folder import SharedFolder
from bertjax.text.vocabulary import Vocabulary

WORD_FILES = 16  # by a hash of the word
_WORDS_TOGETHER = 1 << 16


def _clean(folder: SharedFolder, settings: dict, text_column: str) -> Callable:
  function = steps.cleaner(settings)

  def clean(element: str) -> units.Pairs:
    unit, paths = json.loads(element)
    return units.clean(folder, unit, paths, text_column, function)

  return clean


def _of_unit(function: Callable) -> Callable:
  """Returns what makes a function of what came back to a unit."""

  def make(folder: SharedFolder, **arguments: Any) -> Callable:
    def call(element: tuple[bytes, Iterable[bytes]]) -> Iterator[Any]:
      return function(
        folder, units.unit_of(element[0]), element[1], **arguments
      )

    return call

  return make


def _of_group(function: Callable) -> Callable:
  """Returns what makes a function of documents that have a key in common."""
  return lambda folder, **arguments: lambda x: function(*x, **arguments)


def _count_words(
  folder: SharedFolder, threshold: int, **arguments: Any
) -> Callable:
  function = kept_text.counter(threshold=threshold, **arguments)
  return lambda unit: units.count_words(folder, unit, threshold, function)


def _by_file(folder: SharedFolder) -> Callable:
  del folder
  return lambda x: iter([(zlib.crc32(x[0].encode()) % WORD_FILES, x)])


def _write_words(folder: SharedFolder) -> Callable:
  def write(element: tuple[int, Iterable[tuple[str, int]]]) -> Iterator[int]:
    number, words = element
    schema = pyarrow.schema(
      [('word', pyarrow.string()), ('count', pyarrow.int64())]
    )
    with folder.scratch() as own:
      path = os.path.join(own, 'words')
      with open(path, 'wb') as sink, spool.writer(sink, schema) as file:
        rest = iter(words)
        while some := [*itertools.islice(rest, _WORDS_TOGETHER)]:
          columns = [pyarrow.array(x) for x in zip(*some, strict=True)]
          file.write_batch(pyarrow.record_batch(columns, schema=schema))
      folder.put(path, f'words-{number}')
    yield number

  return write


def _write_shards(
  folder: SharedFolder, threshold: int, **parts: Any
) -> Callable:
  vocabulary = Vocabulary(**parts)
  return lambda unit: units.write_shards(folder, unit, threshold, vocabulary)


# Stage -> what makes its function, of the folder and its arguments.
MAKERS: dict[str, Callable[..., Callable]] = {
  'clean': _clean,
  'repeated': _of_group(units.repeated),
  'find_paragraphs': _of_unit(units.find_paragraphs),
  'write_text': _of_unit(units.write_text),
  'near': _of_group(units.near),
  'choose': _of_unit(units.choose),
  'count_words': _count_words,
  'by_file': _by_file,
  'write_words': _write_words,
  'write_shards': _write_shards,
}
