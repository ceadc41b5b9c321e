"""The preparation of a corpus, cut into work that machines do apart.

A unit is some of the files, in their order, and becomes shards of its own. What
a machine does to a unit is a function here, which reads and writes files of a
`SharedFolder`, and what units have to know of each other goes between them as
pairs of a key and a value, which a cluster groups by key:

    pairs = clean(folder, 0, ['a.txt'], 'text', steps.cleaner(settings))
    pairs = [x for key, values in group(pairs) for x in repeated(key, values)]
    pairs = write_text(folder, 0, values_of(pairs))
    ...  # see `on_beam.build`

Keys and values are bytes, for a document:
  its position    unit and number, which sort as the documents do
  a digest        of its words, of a paragraph, or of a band of its signature
  a signature     to compare with others that share a band
Text never goes between units. A unit itself is a key, too: what is found of its
documents comes back to it under `key_of`. That key comes alone as well, for
units of which nothing is found.
"""

import collections
import dataclasses
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow

from bertjax.corpus import (
  cleaning,
  document_files,
  kept_text,
  near_duplicates,
  signatures,
  spool,
  steps,
  workers,
)
from bertjax.corpus.shared_folder import SharedFolder
from bertjax.corpus.tally import Tally
from bertjax.text.vocabulary import Vocabulary

Pairs = Iterator[tuple[bytes, bytes]]
Function = Callable[[pyarrow.RecordBatch], pyarrow.RecordBatch]

_UNIT, _WORDS, _PARAGRAPH, _BAND = b'unit', b'text', b'line', b'band'
_NUMBER = struct.Struct('>I')
_POSITION = np.dtype([('unit', '>u4'), ('document', '>u8')])
_SIGNATURE = np.dtype((near_duplicates.KEPT, signatures.SIZE))
_SIGNED = np.dtype([*_POSITION.descr, ('signature', _SIGNATURE)])
_TOGETHER = 4096  # signatures that are read at once
_MOST_WORDS = 1 << 18  # distinct words of a unit that are counted together


def divide(sizes: Sequence[int], most: int) -> list[slice]:
  """Divides files into units of about `most` bytes; a file is never cut.

  >>> divide([5, 1, 1, 9, 2], most=6)
  [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
  """
  found, start, size = [], 0, 0
  for number, more in enumerate(sizes):
    size += more
    if size >= most or number + 1 == len(sizes):
      found.append(slice(start, number + 1))
      start, size = number + 1, 0
  return found


def key_of(unit: int) -> bytes:
  """Returns the key under which everything comes back to a unit."""
  return _UNIT + _NUMBER.pack(unit)


def unit_of(key: bytes) -> int | None:
  """Returns the unit of such a key, None if the key is another."""
  if not key.startswith(_UNIT):
    return None
  return _NUMBER.unpack(key[len(_UNIT) :])[0]


def clean(
  folder: SharedFolder,
  unit: int,
  paths: list[str],
  text_column: str,
  function: Function,
) -> Pairs:
  """Reads and cleans the files of a unit; yields digests of documents.

  Args:
    folder: for what is written.
    unit: its number.
    paths: its files.
    text_column: see `document_files.TextFiles`.
    function: what `steps.cleaner` returned.
  """
  counts, document = cleaning.Counts(), 0
  reader = document_files.TextFiles(paths, text_column, processes=1)
  yield key_of(unit), b''
  with folder.scratch() as own:
    path = os.path.join(own, 'rows')
    with open(path, 'wb') as sink, spool.writer(sink, steps.SCHEMA) as file:
      for batch in steps.batches(reader.read(paths, counts)):
        rows = function(batch)
        file.write_batch(rows)
        for rule, digest in zip(
          rows['rule'].to_pylist(), rows['hash'].to_pylist(), strict=True
        ):
          if digest is not None:
            yield _WORDS + digest.to_bytes(8), _position(unit, document)
          document += rule is None
    folder.put(path, f'rows-{unit}')
  folder.write_json(f'read-{unit}', dataclasses.asdict(counts))


def _position(unit: int, document: int) -> bytes:
  """Returns the place of a document among those that no rule drops."""
  return np.array((unit, document), _POSITION).tobytes()


def repeated(key: bytes, values: Iterable[bytes]) -> Pairs:
  """Yields to each unit its documents that share a digest with earlier ones.

  Of a paragraph, the digest goes with them. A group is not held in memory.
  """
  if unit_of(key) is not None:
    yield from ((key, value) for value in values)
    return
  digest = key[len(_PARAGRAPH) :] if key.startswith(_PARAGRAPH) else b''
  first = None
  for value in values:
    if first is None:
      first = value
      continue
    first, later = min(first, value), max(first, value)
    yield _unit_key(later), later + digest


def _unit_key(position: bytes) -> bytes:
  return _UNIT + position[: _NUMBER.size]


def find_paragraphs(
  folder: SharedFolder, unit: int, values: Iterable[bytes]
) -> Pairs:
  """Yields digests of the paragraphs of documents that are no repetition."""
  yield key_of(unit), b''
  again = set()
  for value in values:
    if value:
      again.add(value)
      yield key_of(unit), value
  document = 0
  with folder.local(f'rows-{unit}') as path:
    for batch in spool.read(path):
      for rule, paragraphs in zip(
        batch['rule'].to_pylist(), batch['paragraphs'].to_pylist(), strict=True
      ):
        if rule is not None:
          continue
        position = _position(unit, document)
        if position not in again:
          for digest in set(paragraphs):
            yield _PARAGRAPH + digest.to_bytes(8), position
        document += 1


class _Found:
  """Knows what other units told of what is repeated in a unit."""

  def __init__(self, values: Iterable[bytes], signatures_file: Any):
    size = _POSITION.itemsize
    self._documents: set[bytes] = set()
    self._paragraphs = collections.defaultdict[bytes, set[int]](set)
    for value in values:
      number, digest = value[_NUMBER.size : size], value[size:]
      if digest:
        self._paragraphs[number].add(int.from_bytes(digest))
      elif value:
        self._documents.add(number)
    self._number = -1
    self._file = signatures_file

  def repeats(self, digest: int | None) -> bool:
    self._number += 1
    return self._number.to_bytes(8) in self._documents

  def are_new(self, paragraphs: Sequence[int]) -> list[bool]:
    again = self._paragraphs.get(self._number.to_bytes(8), ())
    return [digest not in again for digest in paragraphs]

  def add(self, signature: bytes | None) -> None:
    if signature is not None:
      row = np.frombuffer(signature, np.uint32)
      self._file.write(row.tobytes())


def write_text(
  folder: SharedFolder, unit: int, values: Iterable[bytes]
) -> Pairs:
  """Writes the text of a unit without repetitions; yields bands of signatures.

  The positions are now those among the documents that are left.
  """
  tally = Tally()
  yield key_of(unit), b''
  with folder.scratch() as own, folder.local(f'rows-{unit}') as rows:
    text, of_bands = os.path.join(own, 'text'), os.path.join(own, 'bands')
    with open(of_bands, 'wb') as file:
      found = _Found(values, file)
      hashes = spool.write(tally.keep(spool.read(rows), found), text)
    path = os.path.join(own, 'hashes.npy')
    np.save(path, hashes)
    folder.put(path, f'hashes-{unit}')
    folder.put(text, f'text-{unit}')
    folder.write_json(f'tally-{unit}', tally.as_json())
    document = 0
    with open(of_bands, 'rb') as file:
      row = 4 * signatures.SIZE
      while block := file.read(_TOGETHER * row):
        for one in np.frombuffer(block, np.uint32).reshape(-1, signatures.SIZE):
          value = (
            _position(unit, document)
            + one.astype(near_duplicates.KEPT).tobytes()
          )
          for band in signatures.band_keys(one):
            yield _BAND + band, value
          document += 1


def near(key: bytes, values: Iterable[bytes], jaccard: float) -> Pairs:
  """Yields to each unit its documents that are nearly earlier ones.

  A group takes some 600 bytes of memory a document.
  """
  if unit_of(key) is not None:
    yield from ((key, value) for value in values)
    return
  group = np.frombuffer(b''.join(values), _SIGNED)
  if len(group) < 2:
    return
  group = group[np.lexsort((group['document'], group['unit']))]
  for one in group[near_duplicates.later_ones(group['signature'], jaccard)]:
    yield key_of(one['unit']), _position(one['unit'], one['document'])


def choose(
  folder: SharedFolder, unit: int, values: Iterable[bytes], share: float
) -> Iterator[int]:
  """Writes which documents of a unit stay, and what is to be known of them.

  Args:
    folder: for what is written.
    unit: its number.
    values: positions of near duplicates.
    share: of the documents that is to be held out.
  """
  with folder.local(f'hashes-{unit}') as path:
    hashes = np.load(path)
  gone = np.zeros(len(hashes), bool)
  positions = np.frombuffer(b''.join(values), _POSITION)
  gone[positions['document'].astype(np.int64)] = True
  tally = Tally.from_json(folder.read_json(f'tally-{unit}'))
  kept = tally.leave_out(gone)
  with folder.scratch() as own:
    path = os.path.join(own, 'kept.npy')
    np.save(path, kept)
    folder.put(path, f'kept-{unit}')
  told = {
    'counts': folder.read_json(f'read-{unit}'),
    'tally': tally.as_json(),
    'hashes': dataclasses.asdict(kept_text.Hashes.of(hashes[kept], share)),
  }
  folder.write_json(f'chosen-{unit}', told)
  yield unit


def count_words(
  folder: SharedFolder, unit: int, threshold: int, function: Function
) -> Iterator[tuple[str, int]]:
  """Yields words of a unit, each several times, and how often they occur.

  Args:
    folder: holds the text.
    unit: its number.
    threshold: see `kept_text.Pieces`.
    function: what `kept_text.counter` returned.
  """
  words: collections.Counter[str] = collections.Counter()
  with folder.local(f'text-{unit}') as path:
    for batch in _pieces(folder, unit, path, threshold).read():
      words.update(kept_text.counted(function(batch)))
      if len(words) > _MOST_WORDS:
        yield from words.items()
        words.clear()
  yield from words.items()


def _pieces(
  folder: SharedFolder, unit: int, text: str, threshold: int
) -> kept_text.Pieces:
  with folder.local(f'kept-{unit}') as path:
    return kept_text.Pieces(text, np.load(path), threshold)


def write_shards(
  folder: SharedFolder, unit: int, threshold: int, vocabulary: Vocabulary
) -> Iterator[int]:
  """Writes the shards of a unit."""
  with folder.scratch() as own, folder.local(f'text-{unit}') as path:
    pieces = _pieces(folder, unit, path, threshold)
    alone = workers.Pool(1)
    written = kept_text.tokenize(vocabulary, pieces, own, alone, f'-{unit:05d}')
    for name in os.listdir(own):
      folder.put(os.path.join(own, name), name)
  folder.write_json(f'written-{unit}', written)
  yield unit
