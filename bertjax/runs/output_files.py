"""Files and directories that appear complete, or not at all.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...   with writing(f'{folder}/x.txt') as path, open(path, 'w') as file:
...     names = os.listdir(folder)
...   names, os.listdir(folder)
(['.x.txt.bertjax.part'], ['x.txt'])
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from bertjax.errors import UserError, expect

# Of files: a directory of such a name is a mistake.
_SUFFIXES = (
  '.csv .gz .html .json .jsonl .md .npy .npz .parquet .pdf .png .safetensors '
  '.svg .tar .tsv .txt .zip'
).split()


def check_output(
  path: str,
  suffixes: Sequence[str],
  sources: Collection[str] = (),
  overwrite: bool = False,
  maker: str | None = None,
) -> None:
  """Refuses an output that cannot be written, before anything is computed.

  Args:
    path: of the file.
    suffixes: what its name may end in; '' is a name without a suffix.
    sources: the inputs, which are never replaced.
    overwrite: whether to replace a file that is there.
    maker: its own pages and pictures are replaced in any case, see `mark`.

  Raises:
    UserError: `path` has another suffix, is there already, is an input itself
      or a directory, or its folder cannot be written.
  """
  named = [suffix for suffix in suffixes if suffix]
  what = f'a file that ends in {" or ".join(named)}'
  expect(os.path.splitext(path)[1] in suffixes, what, path, 'OUTPUT')
  if os.path.realpath(path) in map(os.path.realpath, sources):
    raise UserError(f'{path} is the input as well; set OUTPUT to another file')
  if os.path.lexists(path) and not os.path.isfile(path):
    found = 'a directory' if os.path.isdir(path) else 'no regular file'
    raise UserError(f'expected a file, but {path} is {found}; set OUTPUT')
  if os.path.exists(path) and not (overwrite or _is_made_by(maker, path)):
    raise UserError(
      f'{path} is there already; set OUTPUT to another file, or OVERWRITE=True '
      'to replace it'
    )
  check_folder(path)


def check_folder(path: str, binding: str = 'OUTPUT') -> None:
  """Checks that `path` could be written; makes nothing.

  Args:
    path: of a file or directory.
    binding: what the user can set to write elsewhere.

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
    raise UserError(
      f'cannot write {path}, since {folder} {reason}; set {binding}'
    )


def check_directory(
  path: str,
  source: str | None = None,
  overwrite: bool = False,
  maker: str | None = None,
) -> None:
  """Checks that `path` could become a directory; makes nothing.

  Args:
    path: of the directory.
    source: the input, which is never replaced.
    overwrite: whether to replace a directory of plain files.
    maker: see `check_output`.

  Raises:
    UserError: its name ends as a file's does; it exists and is not an empty
      directory, and is not to be replaced; see `check_folder`.
  """
  suffix = os.path.splitext(path.rstrip('/'))[1]
  what = f'a directory, whose name does not end in {suffix}'
  expect(suffix not in _SUFFIXES, what, path, 'OUTPUT')
  if os.path.isdir(path):
    with explain_failure(path, 'OUTPUT'):
      files = [os.path.join(path, x) for x in sorted(os.listdir(path))]
    own = all(_is_made_by(maker, file) for file in files)
    if not (own or overwrite):
      raise UserError(
        f'expected a new directory, but {path} is there and holds something; '
        'set OUTPUT to another, or OVERWRITE=True to replace it'
      )
    inside = os.path.join(os.path.realpath(path), '')
    if source and f'{os.path.realpath(source)}/'.startswith(inside):
      raise UserError(f'{path} holds the input {source}; set OUTPUT to another')
    for file in files:
      # As all that bertjax writes there; a run, a project, a home have more.
      if os.path.islink(file) or not os.path.isfile(file):
        raise UserError(
          f'only a directory of nothing but files is replaced, and {file} is '
          'none; remove it, or set OUTPUT to another'
        )
  elif os.path.lexists(path):
    raise UserError(f'expected a directory, but {path} is a file; set OUTPUT')
  check_folder(path)


def mark(maker: str) -> str:
  """Returns what a file says of the recipe that made it.

  A page has it in <meta name="generator" content="...">, a PNG as its Software,
  JSON as its first entry, "generator".
  """
  return f'bertjax {maker}'


def _is_made_by(maker: str | None, path: str) -> bool:
  if maker is None or not os.path.isfile(path):
    return False
  with explain_failure(path, 'OUTPUT'), open(path, 'rb') as file:
    start = file.read(2048)
  text = mark(maker)
  page = f'<meta name="generator" content="{text}">'.encode()
  picture = f'tEXtSoftware\0{text}'.encode()
  entry = f'{{\n  "generator": "{text}"'.encode()  # as `write_json` writes it
  return (
    page in start
    or start.startswith(entry)
    or (start.startswith(b'\x89PNG') and picture in start)
  )


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
    in_the_way = isinstance(error, NotADirectoryError | FileExistsError)
    space = '' if in_the_way else 'free space there or '
    # The end of a long one holds the cause, the start the paths.
    raise UserError(
      f'cannot write {path}: {reason[-200:]}; {space}set {binding}'
    ) from error


@contextlib.contextmanager
def writing(
  path: str, binding: str = 'OUTPUT', replaces: bool = False
) -> Iterator[str]:
  """Yields a path beside `path`, which becomes `path` at the end.

  On failure it goes.

  Args:
    path: a file, or a directory that is new or empty. Its folder is made; what
      an earlier run left half-written is removed.
    binding: see `explain_failure`.
    replaces: whether the directory may hold something, which is then removed.

  Raises:
    UserError: the file system refuses, for example because the disk is full.
  """
  path = path.rstrip('/')
  if replaces:
    path = os.path.realpath(path)  # what is replaced lies behind a link
  folder = os.path.dirname(path)
  part, old = _beside(path, 'part'), _beside(path, 'old')
  with explain_failure(path, binding):
    try:
      os.makedirs(folder or '.', exist_ok=True)
      remove(part)
      yield part
      if replaces and os.path.isdir(path):
        remove(old)
        os.replace(path, old)
      os.replace(part, path)
    finally:
      with contextlib.suppress(OSError):
        if os.path.isdir(old):
          remove(old) if os.path.lexists(path) else os.replace(old, path)
        remove(part)


def is_left_half_written(path: str) -> bool:
  """Returns whether a process was killed while it wrote `path`."""
  return os.path.lexists(_beside(path, 'part'))


def _beside(path: str, end: str) -> str:
  """Returns a path in the same folder, of a name that no user has."""
  folder, name = os.path.split(path)
  return os.path.join(folder, f'.{name}.bertjax.{end}')


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


def remove(path: str) -> None:
  """Removes a file, a folder with all in it, or nothing if there is none."""
  if os.path.isdir(path) and not os.path.islink(path):
    shutil.rmtree(path)
  elif os.path.lexists(path):
    os.remove(path)
