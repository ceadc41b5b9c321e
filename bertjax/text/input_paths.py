"""The files that a path, a glob, a folder, or a list of those stands for.

paths = input_paths.expand(['books', 'more/*.txt.gz'], 'TEXT_FILES')
name, size, changed = input_paths.fingerprint(paths[0], 'TEXT_FILES')
"""

import glob
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bertjax import values
from bertjax.errors import UserError, expect
from bertjax.text import input_bytes, input_files


def expand(
  patterns: str | Sequence[str],
  setting: str,
  left_out: list[str] | None = None,
  pages: bool = False,
) -> list[str]:
  """Returns the files, sorted, each once.

  A folder stands for all files of text or Parquet in it and in the folders
  below, but for hidden ones; a glob for the files that it matches. Links to
  folders are followed, and no folder is read twice.

  Args:
    patterns: one or several, local (`**` and `~` work) or of a scheme that
      fsspec knows, such as gs://.
    setting: names them, for messages.
    left_out: receives a line on each file of a folder that is left out; None:
      they are counted in a line on standard error.
    pages: whether HTML and WARC are read.

  Raises:
    UserError: a pattern stands for no file, or a name is not UTF-8.
  """
  several = isinstance(patterns, list | tuple | set)
  some: list[Any] = list(patterns) if several else [patterns]
  valid = some and all(isinstance(x, str) and x.strip() for x in some)
  expect(valid, 'a file, folder, glob or list of them', patterns, setting)
  found, refused = set[str](), list[str]()
  for pattern in some:
    pattern = os.path.expanduser(pattern)
    with input_bytes.explained(pattern, setting):
      if '://' in pattern:
        paths, folder = _remote(pattern)
      else:
        paths, folder = _local(pattern)
    if odd := [path for path in paths if not values.fits(path, values.Name)]:
      raise UserError(
        f'expected file names in UTF-8, got {min(odd)!r}; rename it, or leave '
        f'it out of {setting}'
      )
    if folder:
      paths = _readable(paths, pattern, setting, refused, pages)
    if not paths:
      raise UserError(
        f'no file matches {pattern!r}{_near(pattern)}; set {setting} to one '
        'that exists'
      )
    found.update(paths)
  if left_out is not None:
    left_out += refused
  elif refused:
    told = f'{len(refused):,} files are left out: {refused[0]}'
    print(told, file=sys.stderr, flush=True)
  return sorted(found)


def fingerprint(path: str, setting: str) -> tuple[str, int, Any]:
  """Returns name, bytes, and what changes with the content of a file."""
  with input_bytes.explained(path, setting):
    if '://' not in path:
      stat = os.stat(path)
      return os.path.abspath(path), stat.st_size, stat.st_mtime_ns
    system, place = input_bytes.file_system(path)
    return path, system.size(place), system.ukey(place)


def _local(pattern: str) -> tuple[list[str], bool]:
  """Returns the files, and whether the pattern is a folder."""
  if os.path.isdir(pattern):
    return list(_below(pattern)), True
  if os.path.exists(pattern):
    return [pattern], False  # even if its name holds '[' or '*'
  found = glob.glob(pattern, recursive=True)
  return [path for path in found if not os.path.isdir(path)], False


def _below(folder: str) -> Iterator[str]:
  seen = set[str]()
  for where, folders, names in os.walk(folder, followlinks=True):
    if (real := os.path.realpath(where)) in seen:
      folders.clear()
      continue
    seen.add(real)
    # Links last, so that what they lead to goes by its own name.
    folders[:] = sorted(
      (name for name in folders if not name.startswith('.')),
      key=lambda name: (os.path.islink(os.path.join(where, name)), name),
    )
    for name in names:
      path = os.path.join(where, name)
      if not name.startswith('.') and os.path.isfile(path):  # no pipe
        yield path


def _remote(pattern: str) -> tuple[list[str], bool]:
  system, place = input_bytes.file_system(pattern)
  folder = system.isdir(place)
  if folder:
    found = system.find(place)
  elif system.exists(place):
    found = [place]
  else:
    found = [path for path in system.glob(place) if system.isfile(path)]
  return [system.unstrip_protocol(path) for path in found], folder


def _readable(
  paths: Iterable[str],
  folder: str,
  setting: str,
  refused: list[str],
  pages: bool,
) -> list[str]:
  """Returns those that can be read, and adds to `refused` why others cannot."""
  kept, others = [], []
  for path in sorted(paths):
    try:
      if not (pages and input_bytes.page_form(path, setting)):
        input_files.form_of(path, setting)
      kept.append(path)
    except UserError as error:
      others.append(str(error).partition(';')[0])
  if others and not kept:
    raise UserError(f'no text in {folder}: {others[0]}; set {setting}')
  refused += others
  return kept


def _near(pattern: str) -> str:
  if '://' in pattern:
    return ''
  path = pathlib.Path(os.path.abspath(pattern))
  folder = next(filter(os.path.isdir, [path, *path.parents]))
  return f' (the nearest folder that exists is {folder})'
