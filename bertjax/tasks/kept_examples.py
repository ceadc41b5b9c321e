"""Examples that are read once and can be gone through any number of times.

    >>> from bertjax.tasks.examples import TextExample
    >>> kept = keep(TextExample((text,), 'fun') for text in ('a', 'b'))
    >>> len(kept), [example.texts for example in kept]
    (2, [('a',), ('b',)])

They wait in a temporary file, so that memory stays flat, a bad line is told
before anything is computed, and a file of lines may be a pipe.
"""

import contextlib
import itertools
import json
import mmap
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from bertjax.runs.output_files import explain_failure

_CHUNK = 512  # texts that are tokenized together


def keep(examples: Iterable[Any]) -> Collection[Any]:
  """Reads all examples.

  Args:
    examples: of one class. If it has `from_json`, see `examples`, they are kept
      in a file as JSON; other values of a record become text. Examples of any
      other class, and sequences, are kept as they are.
  """
  if isinstance(examples, Sequence | _Kept):
    return examples
  iterator = iter(examples)
  first = next(iterator, None)
  if first is None:
    return ()
  if not hasattr(first, 'from_json'):
    return [first, *iterator]
  return _Kept(first, iterator)


def chunks(examples: Iterable[Any]) -> Iterator[list[Any]]:
  """Yields lists of a few hundred examples, to be tokenized together."""
  iterator = iter(examples)
  while some := list(itertools.islice(iterator, _CHUNK)):
    yield some


class _Kept(Collection[Any]):
  def __init__(self, first: Any, rest: Iterator[Any]):
    self._restore, self._count = type(first).from_json, 0
    self._file = tempfile.TemporaryFile()
    weakref.finalize(self, self._file.close)
    with explain_failure(tempfile.gettempdir(), 'TMPDIR'):
      try:
        for example in itertools.chain([first], rest):
          self._file.write(json.dumps(example, default=str).encode() + b'\n')
          self._count += 1
        self._file.flush()
      except OSError:
        with contextlib.suppress(OSError):
          self._file.close()
        raise

  def __len__(self) -> int:
    return self._count

  def __contains__(self, example: object) -> bool:
    return any(example == other for other in self)

  def __iter__(self) -> Iterator[Any]:
    # A place of its own: two iterations may be under way at a time.
    with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
      while line := lines.readline():
        yield self._restore(json.loads(line))
