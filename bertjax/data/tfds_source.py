"""Text of a data set that TFDS has stored, such as wikipedia or c4.

    source = tfds_source.TfdsTextSource('wikipedia/20230601.en', 'data/tfds')
    source.get_dataset('train', seed=0)   # {document: int64, text: string}

Nothing is copied or downloaded. Source: seqio's TfdsDataSource.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from bertjax.data import text_store
from bertjax.data.quiet_tensorflow import seqio, tf
from bertjax.data.text_source import TextSource
from bertjax.errors import choose, expect

# Arbitrary, but fixes which documents of a TFDS data set are held out.
_HASH_KEY = (0x62657274, 0x6A6178)
_SETTING = 'DATA_DIR or pretraining_tasks.from_text.tfds_data_dir'


@dataclasses.dataclass(eq=False)
class TfdsTextSource(TextSource):
  """The split 'train' of a TFDS data set on disk.

  Each example is a document, and the document's hash decides its split here.
  Invalid UTF-8 becomes U+FFFD; NUL and blank lines are removed. TFDS shuffled
  the examples when it stored them; here the order of its files is shuffled.

  Attributes:
    name: 'wikipedia/20230601.en', or with a version: ':1.0.0'; else the latest
      one on disk.
    data_dir: where TFDS keeps its data sets; None raises UserError on first
      use.
    field: of an example, the one that holds the text.
    held_out_fraction: about this share of the documents is held out.
  """

  name: str
  data_dir: str | None
  field: str = 'text'
  held_out_fraction: float = 0.05

  @functools.cached_property
  def _source(self) -> seqio.TfdsDataSource:
    """seqio's source, which reads a directory and never downloads."""
    source = seqio.TfdsDataSource(
      tfds_data_dir=find_data_set(self.name, self.data_dir),
      splits={split: 'train' for split in text_store.SPLITS},
      read_only=True,
    )
    info = source.tfds_dataset.info
    for what, known, expected, setting in (
      ('split', info.splits, 'train', 'name'),
      ('field', info.features, self.field, 'field'),
    ):
      one = f'a {what} {expected!r} in tfds:{self.name}'
      fix = f'TfdsTextSource.{setting}'
      expect(expected in known, one, sorted(known), fix)
    return source

  def report(self) -> str:
    examples = self._source.num_input_examples('train')
    return (
      f'{examples:,} documents of tfds:{self.name}; about '
      f'{self.held_out_fraction:.1%} are held out'
    )

  def texts(self, split: str) -> Iterator[str]:
    for example in self.get_dataset(split, shuffle=False):
      yield example['text'].numpy().decode()

  def list_shards(self, split: str) -> Sequence[str]:
    return self._source.list_shards(split)

  def get_dataset(
    self,
    split: str = 'train',
    shuffle: bool = True,
    seed: int | None = None,
    shard_info: seqio.ShardInfo | None = None,
    **unused: Any,
  ) -> tf.data.Dataset:
    """Returns one epoch of documents, each in exactly one shard.

    The arguments are those of `PreparedSource.get_dataset`.
    """
    if shard_info is None or shard_info.num_shards <= len(
      self.list_shards(split)
    ):
      dataset = self._source.get_dataset(split, shuffle, seed or 0, shard_info)
    else:  # the seeds of shards differ: fix one order for all, then divide it
      dataset = self._source.get_dataset(split, shuffle=False)
      dataset = dataset.shard(shard_info.num_shards, shard_info.index)
    is_in = functools.partial(self._is_in, split)
    return dataset.map(self._clean).filter(is_in)

  def _clean(self, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    r"""{'text': 'A\r\n\r\n B\0'} -> {'document': 81..., 'text': 'A\nB'}."""
    text = tf.strings.unicode_transcode(
      example[self.field], 'UTF-8', 'UTF-8', errors='replace'
    )
    text = tf.strings.regex_replace(text, r'\x00', '')
    text = tf.strings.regex_replace(text, r'\s*[\r\n]\s*', '\n')
    text = tf.strings.strip(text)
    document = tf.strings.to_hash_bucket_strong(text, 2**63 - 1, _HASH_KEY)
    return {'document': document, 'text': text}

  def _is_in(self, split: str, example: dict[str, tf.Tensor]) -> tf.Tensor:
    held_out = example['document'] < int(self.held_out_fraction * 2**63)
    belongs = held_out if split == 'validation' else ~held_out
    return belongs & (tf.strings.length(example['text']) > 0)


def find_data_set(name: str, data_dir: str | None) -> str:
  """Returns the directory of a data set's config and version.

  Args:
    name: as for `TfdsTextSource`.
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
