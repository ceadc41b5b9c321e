"""Finds documents that are nearly the same, in flat memory.

    with NearDuplicates('/tmp/bands') as index:
      for text in texts:
        index.add(signatures.signature(text))
      index.duplicates()  # bool[N], True: an earlier one is nearly the same

A document goes if an earlier one, which shares a band with it, has a signature
of which at least `threshold` is the same. This depends on pairs of documents
and their order alone, so whoever compares the groups that share a band key (see
`signatures.band_keys`) by `later_ones`, in whatever order and on whatever
machines, finds the same. The first document of any group always stays.

Signatures and bands stand in files of the directory, 384 bytes a document. In
memory are 42 bytes a document while a band is sorted. A group of any size takes
linear time: its documents are compared with at most `LEADERS` of it.
"""

import contextlib
import mmap
import os
import pathlib
import types
from typing import BinaryIO

import numpy as np

from bertjax.corpus import signatures
from bertjax.runs import output_files

# A group is compared with its first document; what is unlike it with the first
# of what is left, and so on. Groups of up to one more are compared in full;
# larger ones are one text many times, or different texts by accident.
LEADERS = 16
# Of each 32-bit hash of a signature 16 bits are kept, half the disk; two that
# differ agree in them once in 65,536 (b-bit minwise hashing, Li, König 2010).
KEPT = np.uint16
_TOGETHER = 4096  # documents that are written, or compared, at once


class NearDuplicates:
  """An index of signatures; documents are added in their order."""

  def __init__(self, directory: str, threshold: float = 0.8):
    """Makes empty files.

    Args:
      directory: for files, which `close` deletes; made if it is not there.
      threshold: the Jaccard index from which on two documents are nearly the
        same.
    """
    self._directory = pathlib.Path(directory)
    self._directory.mkdir(parents=True, exist_ok=True)
    self._threshold = threshold
    self._waiting: list[np.ndarray] = []
    self._count = 0
    with contextlib.ExitStack() as stack:
      names = ['signatures', *map(str, range(signatures.BANDS))]
      self._files: list[BinaryIO] = [
        stack.enter_context(open(self._directory / name, 'wb+'))
        for name in names
      ]
      self._stack = stack.pop_all()

  def __enter__(self) -> 'NearDuplicates':
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    self.close()

  def close(self) -> None:
    """Deletes the files."""
    try:
      self._stack.close()
    finally:  # on a full disk what waits for it cannot be written
      for file in self._files:
        pathlib.Path(os.fsdecode(file.name)).unlink(missing_ok=True)

  def __len__(self) -> int:
    return self._count

  def add(self, signature: np.ndarray) -> None:
    """Adds the next document: uint32[signatures.SIZE].

    Raises:
      UserError: the disk is full.
    """
    self._waiting.append(signature)
    self._count += 1
    if len(self._waiting) == _TOGETHER:
      self._write()

  def duplicates(self) -> np.ndarray:
    """Returns bool[N]: whether an earlier document is nearly the same.

    Raises:
      UserError: the disk is full.
    """
    self._write()
    found = np.zeros(self._count, bool)
    if self._count:
      number = self._files[0].fileno()
      mapped = mmap.mmap(number, 0, access=mmap.ACCESS_READ)
      for file in self._files[1:]:
        file.seek(0)
        self._compare(np.fromfile(file, np.uint64), mapped, found)
    return found

  def _write(self) -> None:
    if not self._waiting:
      return
    rows = np.stack(self._waiting)
    self._waiting = []
    first, *others = self._files
    with output_files.explain_failure(str(self._directory), 'OUTPUT_DIR'):
      first.write(rows.astype(KEPT).tobytes())
      for file, band in zip(
        others, signatures.band_hashes(rows).T, strict=True
      ):
        file.write(band.tobytes())
      for file in self._files:
        file.flush()

  def _compare(
    self, band: np.ndarray, mapped: mmap.mmap, found: np.ndarray
  ) -> None:
    """Marks in `found` the later ones of all groups that a band makes."""
    order = np.argsort(band, kind='stable')
    band = band[order]
    # Of most documents the key is their own.
    same = band[1:] == band[:-1]
    shared = np.zeros(len(band), bool)
    shared[1:] = same
    shared[:-1] |= same
    order, band = order[shared], band[shared]
    for _ in range(LEADERS):
      if not len(order):
        return
      first = np.flatnonzero(np.diff(band, prepend=~band[:1]) != 0)
      sizes = np.diff(first, append=len(band))
      leader = np.repeat(order[first], sizes)
      near = self._near(mapped, leader, order)
      found[order[near & (order != leader)]] = True
      rest = ~near & np.repeat(sizes > 2, sizes)
      order, band = order[rest], band[rest]

  def _near(
    self, mapped: mmap.mmap, ones: np.ndarray, others: np.ndarray
  ) -> np.ndarray:
    rows = np.frombuffer(mapped, KEPT).reshape(-1, signatures.SIZE)
    near = np.empty(len(ones), bool)
    for begin in range(0, len(ones), _TOGETHER):
      part = slice(begin, begin + _TOGETHER)
      likeness = signatures.similarity(rows[ones[part]], rows[others[part]])
      near[part] = likeness >= self._threshold
      if hasattr(mmap, 'MADV_DONTNEED'):  # or all that was read stays mapped
        mapped.madvise(mmap.MADV_DONTNEED)
    return near


def later_ones(group: np.ndarray, threshold: float = 0.8) -> np.ndarray:
  """Returns bool[G]: which documents of a group an earlier one is nearly like.

  Args:
    group: uint32[G, signatures.SIZE], signatures of the documents that share a
      band key, in the order of the documents.
    threshold: see `NearDuplicates`.
  """
  group = group.astype(KEPT)
  found = np.zeros(len(group), bool)
  left = np.arange(len(group))
  for _ in range(LEADERS):
    if len(left) < 2:
      break
    leader, left = left[0], left[1:]
    near = signatures.similarity(group[leader], group[left]) >= threshold
    found[left[near]] = True
    left = left[~near]
  return found
