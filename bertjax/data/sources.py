"""seqio data sources of text: {document: int64, text: string} a record.

    source = sources.from_spec('books/*.txt.gz', 'runs/books/corpus')
    pretraining_tasks.register('books', source, vocabulary)
    for text in source.texts('train'):
      ...  # for the training of a vocabulary

`text` has clean lines (paragraphs or sentences) joined by newlines, none blank;
`document` is equal where two records may come from one document. The splits are
'train' and 'validation', and never share a document. Every order depends on
the seed alone and is restored by tf.data's symbolic checkpoints.
Source: ours; seqio's DataSource.
"""

import abc
import difflib
import functools
import os
from collections.abc import Iterator, Sequence

import numpy as np
import seqio
import tensorflow as tf

from bertjax.data import corpus, python_documentation, store, text_files
from bertjax.errors import UserError

# Fewer pieces than this are too few to divide: shards would differ in length,
# and epochs of the short ones would come round faster.
SMALL_CORPUS_PIECES = 1024
# Any constant; it fixes which documents of a TFDS data set are held out.
_HASH_KEY = (0x62657274, 0x6A6178)


class TextSource(seqio.DataSource, abc.ABC):
  """What the sources below have in common."""

  def __init__(self):
    # Without a number of examples seqio keeps no copy in memory, which a
    # symbolic checkpoint could not restore.
    super().__init__(
        splits=store.SPLITS,
        num_input_examples=None,
        performs_internal_shuffling=True,
    )

  @property
  def supports_arbitrary_sharding(self) -> bool:
    """True: seqio leaves the sharding to `get_dataset`."""
    return True

  @abc.abstractmethod
  def texts(self, split: str) -> Iterator[str]:
    """Yields every text of a split, in a fixed order and in flat memory."""

  @abc.abstractmethod
  def report(self) -> str:
    """Returns what the source holds, and what was wrong with it."""


class PreparedSource(TextSource):
  """Text that `corpus.prepare` has read into a store, or will when first asked.

  Every epoch is a new random permutation of the whole shard, computed from the
  position and not held in a buffer: so the order is as random in the last
  gigabyte as in the first, and a position is a kilobyte. (A shuffle buffer
  mixes neighbours only, and tf.data writes its contents into every checkpoint;
  after an interleave and before a repeat, TensorFlow 2.21 hangs on saving it.)
  A small corpus is read whole by every shard, in an order of its own.
  """

  def __init__(self, reader, directory: str, held_out_fraction: float = 0.05):
    """Touches nothing yet; the arguments are those of `corpus.prepare`."""
    self._arguments = reader, directory, held_out_fraction
    super().__init__()

  @functools.cached_property
  def prepared(self) -> corpus.Prepared:
    """The store, prepared by the first access."""
    return corpus.prepare(*self._arguments)

  def report(self) -> str:
    return self.prepared.report()

  def texts(self, split: str) -> Iterator[str]:
    return self.prepared.texts(split)

  def list_shards(self, split: str) -> Sequence[str]:
    return [store.text_path(self.prepared.path, split)]

  def get_dataset(
      self,
      split: str = 'train',
      shuffle: bool = True,
      seed: int | None = None,
      shard_info: seqio.ShardInfo | None = None,
      *,
      sequence_length=None,
      use_cached: bool = False,
      num_epochs: int | None = 1,
  ) -> tf.data.Dataset:
    """Returns one epoch of pieces of documents.

    Args:
      split: 'train' or 'validation'.
      shuffle: by the seed, anew at every repetition; else in a fixed order.
      seed: None is 0.
      shard_info: takes every so-many-th piece, or all of them where 'train'
        has fewer than `SMALL_CORPUS_PIECES`.
      sequence_length: unused, as in seqio's other sources.
      use_cached: unused.
      num_epochs: unused.
    """
    seed = seed or 0
    rows = store.read_rows(self.prepared.path, split)
    if split == 'train' and len(rows) < SMALL_CORPUS_PIECES:
      seed += shard_info.index if shard_info else 0
    elif shard_info:
      rows = rows[shard_info.index :: shard_info.num_shards]
    file = open(store.text_path(self.prepared.path, split), 'rb')

    def read(number):
      document, offset, length = rows[number]
      return document, os.pread(file.fileno(), length, offset)

    def read_record(number):
      document, text = tf.numpy_function(
          read, [number], (tf.int64, tf.string), stateful=False
      )
      return {
          'document': tf.ensure_shape(document, []),
          'text': tf.ensure_shape(text, []),
      }

    numbers = tf.data.Dataset.range(len(rows))
    if shuffle:
      numbers = _permutations(len(rows), seed)
    return numbers.map(read_record)


def _permutations(size: int, seed: int) -> tf.data.Dataset:
  """Returns the numbers below `size`, in another order at each repetition."""

  def permute(epoch_seed):
    return tf.data.Dataset.range(size).map(
        lambda number: tf.random.experimental.index_shuffle(
            number, tf.stack([epoch_seed, seed]), np.int64(size - 1)
        )
    )

  epoch_seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
  return epoch_seeds.take(1).flat_map(permute)


class TfdsTextSource(TextSource):
  """The split 'train' of a TFDS data set that is on disk; nothing is copied.

  Each example is a document, and the document's hash decides its split.
  Invalid UTF-8 becomes U+FFFD; NUL and blank lines are removed. TFDS shuffled
  the examples when it stored them; here the order of its files is shuffled.
  """

  def __init__(
      self,
      name: str,
      data_dir: str,
      field: str = 'text',
      held_out_fraction: float = 0.05,
  ):
    """Touches nothing yet.

    Args:
      name: 'wikipedia/20230601.en', with ':1.0.0' or else the latest there.
      data_dir: where TFDS keeps its data sets.
      field: of the example that holds the text.
      held_out_fraction: about this share of the documents is held out.
    """
    self._name = name
    self._data_dir = data_dir
    self._field = field
    self._held_out_fraction = held_out_fraction
    super().__init__()

  @functools.cached_property
  def _source(self) -> seqio.TfdsDataSource:
    """seqio's source, which reads a directory and never downloads."""
    source = seqio.TfdsDataSource(
        tfds_data_dir=_find_data_set(self._name, self._data_dir),
        splits={split: 'train' for split in store.SPLITS},
        read_only=True,
    )
    info = source.tfds_dataset.info
    for what, known, expected, setting in (
        ('split', info.splits, 'train', 'name'),
        ('field', info.features, self._field, 'field'),
    ):
      if expected not in known:
        raise UserError(
            f'tfds:{self._name} has no {what} {expected!r}, only '
            f'{", ".join(map(repr, known))}; set TfdsTextSource.{setting}'
        )
    return source

  def report(self) -> str:
    examples = self._source.num_input_examples('train')
    return (
        f'{examples:,} documents of tfds:{self._name}; about '
        f'{self._held_out_fraction:.1%} are held out'
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
      *,
      sequence_length=None,
      use_cached: bool = False,
      num_epochs: int | None = 1,
  ) -> tf.data.Dataset:
    """Returns one epoch of documents, each in exactly one shard.

    The arguments are those of `PreparedSource.get_dataset`.
    """
    seed = seed or 0
    shards = shard_info.num_shards if shard_info else 1
    if shards <= len(self.list_shards(split)):
      dataset = self._source.get_dataset(split, shuffle, seed, shard_info)
    else:  # the seeds of shards differ: one order for all, then divide
      dataset = self._source.get_dataset(split, shuffle=False)
      dataset = dataset.shard(shards, shard_info.index)
    return dataset.map(self._clean).filter(
        lambda example: self._is_in(split, example)
    )

  def _clean(self, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    r"""{'text': 'A\r\n\r\n B\0'} -> {'document': 81..., 'text': 'A\nB'}."""
    text = tf.strings.unicode_transcode(
        example[self._field], 'UTF-8', 'UTF-8', errors='replace'
    )
    text = tf.strings.regex_replace(text, r'\x00', '')
    text = tf.strings.regex_replace(text, r'\s*[\r\n]\s*', '\n')
    text = tf.strings.strip(text)
    document = tf.strings.to_hash_bucket_strong(text, 2**63 - 1, _HASH_KEY)
    return {'document': document, 'text': text}

  def _is_in(self, split: str, example: dict[str, tf.Tensor]) -> tf.Tensor:
    held_out = example['document'] < int(self._held_out_fraction * 2**63)
    belongs = held_out if split == 'validation' else ~held_out
    return belongs & (tf.strings.length(example['text']) > 0)


def _find_data_set(name: str, data_dir: str | None) -> str:
  """Returns the directory of a data set, config and version."""
  if not data_dir:
    raise UserError(
        f'expected the folder where TFDS keeps tfds:{name}, got none; '
        'set tfds_data_dir'
    )
  found = {}  # 'wikipedia/20230601.en:1.0.0' -> directory
  for depth in ('*/*', '*/*/*'):
    pattern = os.path.join(data_dir, depth, 'dataset_info.json')
    for path in map(os.path.dirname, tf.io.gfile.glob(pattern)):
      relative = path[len(data_dir.rstrip('/')) + 1 :]
      found[':'.join(relative.rsplit('/', 1))] = path
  if name in found:
    return found[name]
  versions = [known for known in found if known.rsplit(':', 1)[0] == name]
  if versions:
    return found[max(versions, key=_version_number)]
  near = difflib.get_close_matches(name, found, n=3, cutoff=0.3)
  known = near or sorted(found)[:3]
  raise UserError(
      f'no data set {name!r} in {data_dir}'
      + (f', but {", ".join(known)}' if known else ', nor any other')
      + '; set TEXT_FILES, or tfds_data_dir to where TFDS has prepared it '
      '(nothing is downloaded)'
  )


def _version_number(name: str) -> list[int]:
  digits = name.rsplit(':', 1)[1].split('.')
  return [int(part) if part.isdigit() else -1 for part in digits]


def from_spec(
    text_files_or_name: str | Sequence[str],
    directory: str,
    tfds_data_dir: str | None = None,
    held_out_fraction: float = 0.05,
) -> TextSource:
  """Returns the source that TEXT_FILES stands for; bad values raise UserError.

  Args:
    text_files_or_name: 'python_documentation', 'tfds:NAME', or files and globs.
    directory: below which the corpus is prepared.
    tfds_data_dir: where TFDS keeps data sets, for 'tfds:NAME'.
    held_out_fraction: share of the documents in the split 'validation'.
  """
  spec = text_files_or_name
  if spec == 'python_documentation':
    reader = python_documentation.PythonDocumentation()
  elif isinstance(spec, str) and spec.startswith('tfds:'):
    return TfdsTextSource(
        spec.removeprefix('tfds:'),
        tfds_data_dir,
        held_out_fraction=held_out_fraction,
    )
  else:
    reader = text_files.TextFiles(spec)
    reader.paths()  # raises where there is nothing to read
  return PreparedSource(reader, directory, held_out_fraction)
