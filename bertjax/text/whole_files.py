"""Small files that are read whole, and checked before they are believed.

    task = whole_files.read_object('runs/x/task.json', 'start the run again')
    whole_files.check(task, {'labels': list[str]}, 'task.json', 'mend it')

They may come from strangers: one that is large, deeply nested or of other types
ends in one line.
"""

from collections.abc import Mapping
from typing import Any

from etils import epath

from bertjax import values
from bertjax.errors import UserError
from bertjax.text.input_files import json_object

# In bytes. JSON takes up to 25 times as much memory; a config.json with the
# names of 10,000 labels has half a megabyte.
MOST = 1 << 22


def read(path: str, fix: str, most: int = MOST) -> str | None:
  """Returns the text of a file, None if there is none.

  Args:
    path: any that `etils.epath` opens.
    fix: what to do if it cannot be read, for the message.
    most: bytes that the file may have.

  Raises:
    UserError: the file is longer, not UTF-8, or cannot be opened.
  """
  try:
    file = epath.Path(path)
    size = file.stat().length
    if size > most and not file.is_dir():
      raise UserError(
        f'expected at most {most >> 20} MB in {path}, got {size >> 20}; {fix}'
      )
    return file.read_bytes().decode('utf-8-sig')
  except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
    return None
  except UnicodeDecodeError as error:
    raise UserError(
      f'expected UTF-8 in {path}, got byte {error.object[error.start]:#x} '
      f'at {error.start}; {fix}'
    ) from error
  except KeyError as error:  # of etils
    raise UserError(f'cannot read {path}: unknown scheme; {fix}') from error
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}; {fix}') from error


def read_object(path: str, fix: str, most: int = MOST) -> dict[str, Any] | None:
  """Returns the object in a JSON file, None if there is none; see `read`.

  Raises:
    UserError: see `read` and `input_files.json_object`.
  """
  text = read(path, fix, most)
  return None if text is None else json_object(text, path, fix)


def check(
  content: Mapping[str, Any],
  forms: Mapping[str, Any],
  where: str,
  fix: str,
  complete: bool = True,
) -> None:
  """Checks what an object holds; other keys than those named may stand there.

  Args:
    content: the object.
    forms: key -> annotation of its value, see `bertjax.values`.
    where: it stands, for the message.
    fix: what to do, for the message.
    complete: whether every key must be there.

  Raises:
    UserError: a key is missing, or its value has another form.
  """
  for key, form in forms.items():
    if key not in content:
      if complete:
        found = ', '.join(content)
        raise UserError(
          f'expected {key!r} in {where}, which has {found:.80}; {fix}'
        )
    elif not values.fits(content[key], form):
      raise UserError(
        f'expected {values.describe(form)} as {key!r} in {where}, got '
        f'{content[key]!r:.40}; {fix}'
      )
