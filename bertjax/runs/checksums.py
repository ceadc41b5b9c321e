"""Checksums of the files of a checkpoint's item, written and checked.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   item = epath.Path(folder) / 'state'
    ...   item.mkdir()
    ...   for text in 'whole', 'wrong':
    ...     _ = (item / 'data').write_text(text)
    ...     if text == 'whole':
    ...       write(item)
    ...     print(find_damage(item))
    None
    state/data has another checksum

Orbax notices missing and shortened files of an item when it needs them, but
not a changed bit within an array: with orbax-checkpoint 0.12 one flipped bit in
the middle of a data file came back as garbage, without an error.
"""

import json
import zlib

from etils import epath

from bertjax.runs import layout

FILE = 'checksums.json'
_BLOCK_BYTES = 1 << 24


def write(item: epath.Path) -> None:
  """Adds `checksums.json`, {name: [bytes, CRC-32]}, to an item's folder."""
  checksums = {
    str(path.relative_to(item)): (path.stat().length, _checksum(path))
    for folder, _, names in item.walk()
    for path in (folder / name for name in names)
  }
  (item / FILE).write_text(json.dumps(checksums))


def find_damage(item: epath.Path) -> str | None:
  """Compares an item's files with its checksums.

  Returns:
    the first difference in words; None if there is none.
  """
  try:
    checksums = json.loads((item / FILE).read_bytes())
    for name, (size, checksum) in checksums.items():
      if not layout.is_below(name):
        return f'{item.name}/{FILE} names {name}'
      path = item / name
      length = path.stat().length
      if length != size:
        return f'{item.name}/{name} has {length} bytes of {size}'
      if _checksum(path) != checksum:
        return f'{item.name}/{name} has another checksum'
  except FileNotFoundError as error:
    return f'missing {error.filename or error}'
  except (ValueError, TypeError, AttributeError, RecursionError):
    return f'{item.name}/{FILE} is not readable'
  return None


def _checksum(path: epath.Path) -> int:
  checksum = 0
  with path.open('rb') as file:
    while block := file.read(_BLOCK_BYTES):
      checksum = zlib.crc32(block, checksum)
  return checksum
