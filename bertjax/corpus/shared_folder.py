"""A folder that all machines of a cluster see; its files appear whole.

    folder = SharedFolder('/mnt/team/part')  # or 'gs://bucket/part'
    with folder.scratch() as own:
      write(f'{own}/x.arrow')
      folder.put(f'{own}/x.arrow', 'text-7.arrow')
    with folder.local('text-7.arrow') as path:
      read(path)

Work on a cluster may be done twice, even at the same time, and may go on when
nobody waits for it any more. So a file gets its name when it is complete,
whoever writes it again writes the same, and nothing is written to a folder that
was removed.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

from bertjax.runs import output_files
from bertjax.text import input_bytes

NAME = 'beam'  # of one in OUTPUT_DIR, while the corpus is prepared


@dataclasses.dataclass(frozen=True)
class SharedFolder:
  """Files by their names.

  Attributes:
    path: local, or of a scheme that fsspec knows.
  """

  path: str

  @property
  def _is_local(self) -> bool:
    return '://' not in self.path

  def _place(self, name: str = '') -> tuple[Any, str]:
    return input_bytes.file_system(f'{self.path}/{name}'.rstrip('/'))

  def make(self) -> None:
    """Makes the folder, and those above it."""
    if self._is_local:
      os.makedirs(self.path)
    else:
      system, place = self._place()
      system.makedirs(place, exist_ok=True)

  def remove(self) -> None:
    """Removes the folder and all in it, if it is there."""
    if self._is_local:
      shutil.rmtree(self.path, ignore_errors=True)
    else:
      system, place = self._place()
      if system.exists(place):
        system.rm(place, recursive=True)

  def names(self) -> list[str]:
    """Returns the names of the files."""
    if self._is_local:
      return os.listdir(self.path)
    system, place = self._place()
    system.invalidate_cache()
    return [os.path.basename(x) for x in system.ls(place, detail=False)]

  @contextlib.contextmanager
  def scratch(self) -> Iterator[str]:
    """Yields a folder on this machine, which goes at the end."""
    with tempfile.TemporaryDirectory(
      dir=self.path if self._is_local else None,
      prefix='scratch-',
      ignore_cleanup_errors=True,
    ) as own:
      yield own

  def put(self, path: str, name: str) -> None:
    """Moves a file of `scratch` here."""
    if self._is_local:
      os.replace(path, os.path.join(self.path, name))
    else:
      system, place = self._place(name)
      system.put_file(path, place)
      os.remove(path)

  @contextlib.contextmanager
  def local(self, name: str) -> Iterator[str]:
    """Yields the path of a file, or of a copy on this machine."""
    if self._is_local:
      yield os.path.join(self.path, name)
      return
    with self.scratch() as own:
      self.take(name, own)
      yield os.path.join(own, name)

  def take(self, name: str, folder: str) -> None:
    """Moves or copies a file to a folder on this machine."""
    path = os.path.join(folder, name)
    if self._is_local:
      shutil.move(os.path.join(self.path, name), path)
    else:
      system, place = self._place(name)
      system.get_file(place, path)
    with open(path, 'rb') as file:
      os.fsync(file.fileno())

  def write_json(self, name: str, content: Any) -> None:
    """Writes a small file."""
    with self.scratch() as own:
      path = os.path.join(own, name)
      with open(path, 'w', encoding='utf-8') as file:
        json.dump(content, file)
      self.put(path, name)

  def read_json(self, name: str) -> Any:
    """Reads what `write_json` wrote."""
    with self.local(name) as path, open(path, encoding='utf-8') as file:
      return json.load(file)


@contextlib.contextmanager
def temporary(folder: str, place: str, setting: str) -> Iterator[SharedFolder]:
  """Makes a folder for files between machines, which goes at the end.

  Args:
    folder: that is prepared, and gets it if there is no other place.
    place: another, of any scheme; '' is none.
    setting: names where it is, for messages.

  Raises:
    UserError: it cannot be made.
  """
  own = os.path.abspath(folder)
  if place and '://' not in place:
    place = os.path.abspath(place)
  name = hashlib.blake2b(own.encode(), digest_size=8).hexdigest()
  above = (
    SharedFolder(f'{place.rstrip("/")}/bertjax-{name}')
    if place
    else SharedFolder(os.path.join(own, NAME))
  )
  # What is left of a preparation that was ended may still be written to.
  above.remove()
  shared = SharedFolder(f'{above.path}/{uuid.uuid4().hex}')
  with output_files.explain_failure(shared.path, setting):
    shared.make()
  try:
    yield shared
  finally:
    above.remove()
