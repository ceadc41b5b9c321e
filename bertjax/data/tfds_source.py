"""Text of a data set that TFDS has stored, such as wikipedia or c4.

    reader = tfds_source.TfdsText('wikipedia/20230601.en', 'data/tfds')
    prepared = corpora.from_text(reader, run_dir='runs/wikipedia')

Nothing is downloaded.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Iterator

from bertjax.corpus import cleaning
from bertjax.data.quiet_tensorflow import seqio, tf
from bertjax.errors import choose, expect
from bertjax.values import Name, Place, check_fields

_SETTING = 'DATA_DIR or TfdsText.data_dir'


@dataclasses.dataclass(frozen=True)
class TfdsText:
  """A reader of the split 'train' of a TFDS data set; an example a document.

  Attributes:
    name: 'wikipedia/20230601.en', or with a version: ':1.0.0'; else the latest
      one on disk. It may begin with 'tfds:'.
    data_dir: where TFDS keeps its data sets; None raises UserError when it is
      read.
    field: of an example, the one that holds the text.
  """

  name: Name
  data_dir: Place | None
  field: Name = 'text'

  def __post_init__(self) -> None:
    check_fields(self)

  def __str__(self) -> str:
    return f'tfds:{self._name}'

  @property
  def _name(self) -> str:
    return self.name.removeprefix('tfds:')

  @functools.cached_property
  def _source(self) -> seqio.TfdsDataSource:
    """seqio's source, which reads a directory and never downloads."""
    source = seqio.TfdsDataSource(
      tfds_data_dir=find_data_set(self._name, self.data_dir),
      splits=('train',),
      read_only=True,
    )
    info = source.tfds_dataset.info
    for what, known, expected, setting in (
      ('split', info.splits, 'train', 'name'),
      ('field', info.features, self.field, 'field'),
    ):
      one = f'a {what} {expected!r} in {self}'
      expect(expected in known, one, sorted(known), f'TfdsText.{setting}')
    return source

  def fingerprint(self) -> list[str]:
    """Returns the directory of the data set, and the field."""
    return [find_data_set(self._name, self.data_dir), self.field]

  def size(self) -> int:
    """Returns the bytes of the data set on disk."""
    return self._source.tfds_dataset.info.splits['train'].num_bytes

  def documents(self, counts: cleaning.Counts) -> Iterator[list[str]]:
    """Yields the lines of each document, then an empty list."""
    counts.files += len(self._source.list_shards('train'))
    data_set = self._source.get_dataset('train', shuffle=False)
    for example in data_set.as_numpy_iterator():
      encoded = example[self.field]
      counts.file_bytes += len(encoded)
      text = ''.join(cleaning.decode([encoded], counts))
      if lines := cleaning.lines_of(text, counts):
        yield lines
        yield []


def find_data_set(name: str, data_dir: str | None) -> str:
  """Returns the directory of a data set's config and version.

  Args:
    name: as for `TfdsText`.
    data_dir: where TFDS keeps its data sets.

  Raises:
    UserError: data_dir is None, or holds no such data set.
  """
  patterns = [
    os.path.join(data_dir or '', depth, 'dataset_info.json')
    for depth in ('*/*', '*/*/*')
  ]
  files = tf.io.gfile.glob(patterns) if data_dir else []
  where = f'the folder, with data sets, where TFDS keeps tfds:{name}'
  expect(files, where, data_dir, f'{_SETTING} (nothing is downloaded)')
  found = {}  # 'wikipedia/20230601.en' and '...:1.0.0' -> directory
  for path in sorted(map(os.path.dirname, files), key=_version):
    known, version = os.path.relpath(path, data_dir).rsplit('/', 1)
    found[known] = found[f'{known}:{version}'] = path  # the latest stays
  return choose(
    found,
    name,
    f'TEXT_FILES, or {_SETTING}, now {data_dir}, to where TFDS has prepared '
    'it (nothing is downloaded)',
  )


def _version(path: str) -> list[int]:
  return [int(part) for part in re.findall(r'\d+', os.path.basename(path))]
