"""Sources of text by name: prepared files, Python's documentation, TFDS.

    source = sources.from_spec('books/*.txt.gz', 'runs/books/corpus')
    pretraining_tasks.register('books', source, vocabulary)
    for text in source.texts('train'):
      ...  # to train a vocabulary

`text_source` explains what a source yields.
"""

import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bertjax.data import (
  corpus,
  document_files,
  numpy_calls,
  python_documentation,
  text_store,
)
from bertjax.data.quiet_tensorflow import seqio, tf
from bertjax.data.text_source import TextSource
from bertjax.data.tfds_source import TfdsTextSource
from bertjax.errors import UserError, did_you_mean, expect
from bertjax.runs import layout
from bertjax.text import input_files

# Fewer pieces are not divided: shards would differ in length, and the short
# ones would repeat sooner.
SMALL_CORPUS_PIECES = 1024

# The fewest pieces in a shard: it pairs its own documents, and with only one no
# second half would be random.
SHARD_PIECES = 4


@dataclasses.dataclass(eq=False)
class PreparedSource(TextSource):
  """Text in a store of `corpus.prepare`, which is written on first use.

  Every epoch is a new random permutation of the whole shard, computed from the
  position instead of held in a buffer. The order is thus as random in the last
  gigabyte as in the first, and a position is a kilobyte. (A shuffle buffer
  mixes neighbours only, and tf.data writes its contents into every checkpoint;
  after an interleave and before a repeat, TensorFlow 2.21 hangs on saving it.)
  Every shard reads a small corpus whole, in an order of its own.

  The attributes are the arguments of `corpus.prepare`.
  """

  reader: text_store.Reader
  directory: str
  held_out_fraction: float = 0.05

  @functools.cached_property
  def prepared(self) -> corpus.Prepared:
    """The store, prepared on first access."""
    return corpus.prepare(self.reader, self.directory, self.held_out_fraction)

  def report(self) -> str:
    return self.prepared.report()

  def texts(self, split: str) -> Iterator[str]:
    return self.prepared.texts(split)

  def list_shards(self, split: str) -> Sequence[str]:
    return [text_store.text_path(self.prepared.path, split)]

  def get_dataset(
    self,
    split: str = 'train',
    shuffle: bool = True,
    seed: int | None = None,
    shard_info: seqio.ShardInfo | None = None,
    **unused: Any,
  ) -> tf.data.Dataset:
    """Returns one epoch of pieces of documents.

    The seed fixes the orders of the first iterator over the dataset; another
    iterator over the same dataset continues with further orders, as in
    tf.data's own shuffle.

    Args:
      split: 'train' or 'validation'.
      shuffle: by the seed, anew at every repetition; else in a fixed order.
      seed: None is 0.
      shard_info: of n shards, each takes every n-th piece, or all pieces if
        'train' has fewer than `SMALL_CORPUS_PIECES`. If `SHARD_PIECES` each
        are too many, the last shards are empty.
      **unused: arguments that seqio passes and its other sources ignore too.
    """
    seed = seed or 0
    rows = text_store.read_rows(self.prepared.path, split)
    if split == 'train' and len(rows) < SMALL_CORPUS_PIECES:
      seed += shard_info.index if shard_info else 0
    elif shard_info:
      shards = min(shard_info.num_shards, max(1, len(rows) // SHARD_PIECES))
      first = shard_info.index if shard_info.index < shards else len(rows)
      rows = rows[first::shards]
    file = open(text_store.text_path(self.prepared.path, split), 'rb')

    def read(number):
      document, offset, length = rows[number]
      text = os.pread(file.fileno(), length, offset)
      return {'document': document, 'text': text}

    record = {
      'document': tf.TensorSpec([], tf.int64),
      'text': tf.TensorSpec([], tf.string),
    }
    numbers = tf.data.Dataset.range(len(rows))
    if shuffle:
      numbers = _permutations(len(rows), seed)
    return numbers.map(
      lambda number: numpy_calls.call(read, {'number': number}, record)
    )


def _permutations(size: int, seed: int) -> tf.data.Dataset:
  """Returns the numbers below `size`, in a new order at each repetition."""

  def permute(epoch_seed):
    return tf.data.Dataset.range(size).map(
      lambda number: tf.random.experimental.index_shuffle(
        number, tf.stack([epoch_seed, seed]), np.int64(size - 1)
      )
    )

  epoch_seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
  return epoch_seeds.take(1).flat_map(permute)


def _check_no_run(paths: Sequence[str]) -> None:
  """Refuses files that a run wrote, among them the prepared text."""
  for path in paths:
    folder, name = os.path.split(path)
    lock = os.path.join(folder, layout.LOCK)
    of_run = name == layout.CONFIGURATION and os.path.exists(lock)
    if of_run or os.path.exists(text_store.rows_path(folder, 'train')):
      raise UserError(
        f'expected text in TEXT_FILES, got {path}, which a run wrote; move '
        'that folder out of it, and set RUN_DIR to one outside'
      )


def from_spec(
  text_files_or_name: str | Sequence[str] | text_store.Reader,
  directory: str,
  tfds_data_dir: str | None = None,
  held_out_fraction: float = 0.05,
  text_column: str = 'text',
) -> TextSource:
  """Returns the source that TEXT_FILES stands for.

  Args:
    text_files_or_name: 'python_documentation', 'tfds:NAME', files, folders and
      globs, or a reader.
    directory: prepared text is stored below it.
    tfds_data_dir: where TFDS keeps data sets, for 'tfds:NAME'.
    held_out_fraction: share of the documents in the split 'validation'.
    text_column: the column of text in tables, or the field in TFDS.

  Raises:
    UserError: there are no such files, or a run wrote one.
  """
  reader: Any = text_files_or_name
  if isinstance(reader, str) and reader.startswith('tfds:'):
    return TfdsTextSource(
      reader.removeprefix('tfds:'),
      tfds_data_dir,
      text_column,
      held_out_fraction,
    )
  if reader == 'python_documentation':
    reader = python_documentation.PythonDocumentation()
  elif not isinstance(reader, text_store.Reader):
    near = did_you_mean(reader, ['python_documentation'], cutoff=0.8)
    if near and not os.path.lexists(reader):
      expect(False, f'files or a name of text{near}', reader, 'TEXT_FILES')
    reader = document_files.TextFiles(reader, text_column)
    _check_no_run(reader.paths())
    input_files.check_tables(reader.paths(), text_column)
  return PreparedSource(reader, directory, held_out_fraction)
