"""Files and directories that appear complete, or not at all.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...   with writing(f'{folder}/x.txt') as path, open(path, 'w') as file:
...     names = os.listdir(folder)
...   names, os.listdir(folder)
(['x.txt.part'], ['x.txt'])
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from typing import Any

from bertjax.errors import UserError, expect


def check_output(
  path: str, suffixes: tuple[str, ...], sources: Collection[str]
) -> None:
  """Refuses an output that cannot be written, before anything is computed.

  Raises:
    UserError: `path` has another suffix, is an input itself or a directory, or
      its folder cannot be written.
  """
  what = f'a file that ends in {" or ".join(suffixes)}'
  expect(path.endswith(suffixes), what, path, 'OUTPUT')
  if os.path.realpath(path) in map(os.path.realpath, sources):
    raise UserError(f'{path} is the input as well; set OUTPUT to another file')
  if os.path.isdir(path):
    raise UserError(f'expected a file, but {path} is a directory; set OUTPUT')
  check_folder(path)


def check_folder(path: str) -> None:
  """Checks that `path` could be written; makes nothing.

  Raises:
    UserError: the nearest ancestor that exists is no folder, or cannot be
      written.
  """
  folder = os.path.dirname(os.path.abspath(path))
  while not os.path.lexists(folder):
    folder = os.path.dirname(folder)
  is_folder = os.path.isdir(folder)
  if not is_folder or not os.access(folder, os.W_OK):
    reason = 'cannot be written' if is_folder else 'is no folder'
    raise UserError(f'cannot write {path}, since {folder} {reason}; set OUTPUT')


def check_directory(path: str) -> None:
  """Checks that `path` could become a directory; makes nothing.

  Raises:
    UserError: it exists and is not an empty directory; see `check_folder`.
  """
  if os.path.lexists(path) and (not os.path.isdir(path) or os.listdir(path)):
    raise UserError(
      f'expected a new directory, but {path} is there and holds '
      'something; set OUTPUT to another'
    )
  check_folder(path)


@contextlib.contextmanager
def explain_failure(path: str, binding: str = 'RUN_DIR') -> Iterator[None]:
  """Turns what the file system refuses into a UserError.

  Args:
    path: what is written.
    binding: what the user can set to write elsewhere.
  """
  try:
    yield
  except (OSError, ValueError) as error:
    # TensorStore raises ValueError with the operating system's code in it.
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if not isinstance(error, OSError) and not code:
      raise
    reason = (
      os.strerror(int(code[1]))
      if code
      else getattr(error, 'strerror', None)
      or (str(error).splitlines() or [type(error).__name__])[0]
    )
    # The end of a long one holds the cause, the start the paths.
    raise UserError(
      f'cannot write {path}: {reason[-200:]}; free space there or set {binding}'
    ) from error


@contextlib.contextmanager
def writing(path: str, binding: str = 'OUTPUT') -> Iterator[str]:
  """Yields `path`.part, which becomes `path` at the end, or goes on failure.

  Args:
    path: a file, or a directory that is new or empty. Its folder is made; what
      an earlier run left as `path`.part is removed.
    binding: see `explain_failure`.

  Raises:
    UserError: the file system refuses, for example because the disk is full.
  """
  path = path.rstrip('/')
  part = f'{path}.part'
  with explain_failure(path, binding):
    try:
      os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
      _remove(part)
      yield part
      os.replace(part, path)
    finally:
      with contextlib.suppress(OSError):
        _remove(part)


def write_text(path: str, text: str, binding: str = 'OUTPUT') -> None:
  """Writes a file in UTF-8; a kill or a power cut leaves the old or the new.

  Args:
    path: as in `writing`.
    text: the content.
    binding: see `explain_failure`.

  Raises:
    UserError: see `writing`.
  """
  with (
    writing(path, binding) as part,
    open(part, 'w', encoding='utf-8') as file,
  ):
    file.write(text)
    file.flush()
    os.fsync(file.fileno())  # or the new name could outlive the content


def write_json(path: str, content: Any, binding: str = 'OUTPUT') -> None:
  """Writes JSON that people can read; see `write_text`."""
  text = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
  write_text(path, text, binding)


def _remove(path: str) -> None:
  if os.path.isdir(path):
    shutil.rmtree(path)
  elif os.path.lexists(path):
    os.remove(path)
