"""Batches of a seqio task: deterministic, prefetched and exactly resumable.

    batches = iter(pipeline.batches('novels', batch_size=32, length=128,
                                    predictions=20, seed=0))
    batch = next(batches)              # dict of numpy arrays, see bertjax.batch
    position = batches.position()      # {'stream_0': b'...', ...}
    batches.restore(position)          # the same batches follow again

The order is defined by a fixed number of streams, not by processes. A stream is
a shard of the task (seqio's ShardInfo) with its own seed, and fills fixed rows
of every global batch. Reading, shuffling, pairing, masking and packing stay
within a stream; a process runs the streams whose rows it feeds. The global
batches thus depend only on task, seed and sizes, and a position, which is saved
per stream, can be restored on another number of processes.
"""

import difflib
import math
import os
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import seqio
import tensorflow as tf

from bertjax.data import features
from bertjax.errors import UserError
from bertjax.text import hashing

# TensorFlow reads data; the accelerator is JAX's.
for _kind in ('GPU', 'TPU'):
  tf.config.set_visible_devices([], _kind)

# More streams allow more processes, but each has its own buffers.
STREAMS = 4


class Batches:
  """Batches of a task; each iterator starts at the beginning.

  If the split is shuffled, iterators after the first have other orders, as with
  tf.data's own shuffle.
  """

  def __init__(
    self,
    datasets: dict[int, tf.data.Dataset],
    rows: int,
    picked: np.ndarray | None = None,
  ):
    """Joins the streams of this process.

    Args:
      datasets: stream -> its rows of each global batch, in row order.
      rows: how many rows of a batch a stream has.
      picked: int[...], which rows of the joined `datasets` to return, in this
        order; None: all.
    """
    self._datasets = datasets
    self._rows = rows
    self._picked = picked

  def __iter__(self) -> 'BatchIterator':
    iterators = {n: iter(dataset) for n, dataset in self._datasets.items()}
    return BatchIterator(iterators, self._rows, self._picked)


class BatchIterator(Iterator):
  """This process's rows of the global batches, with a position to save."""

  def __init__(
    self,
    iterators: dict[int, Iterator],
    rows: int,
    picked: np.ndarray | None,
  ):
    self._iterators = iterators
    self._rows = rows
    self._picked = slice(None) if picked is None else picked

  def __next__(self) -> dict[str, np.ndarray]:
    """Returns the next batch; the last ones are padded with empty rows.

    Raises:
      StopIteration: all streams have ended.
    """
    parts = [next(iterator, None) for iterator in self._iterators.values()]
    if all(part is None for part in parts):
      raise StopIteration
    some = next(part for part in parts if part is not None)
    return {
      key: np.concatenate(
        [
          _fill(None if part is None else part[key], self._rows, some[key])
          for part in parts
        ]
      )[self._picked]
      for key in some
    }

  def position(self) -> dict[str, bytes]:
    """Returns the position of each stream, for `restore`."""
    return {
      f'stream_{number}': _save(iterator)
      for number, iterator in self._iterators.items()
    }

  def restore(self, position: dict[str, bytes]) -> None:
    """Continues from what `position` returned, in this or another process.

    Raises:
      ValueError: the position has another number of streams.
    """
    for number, iterator in self._iterators.items():
      if f'stream_{number}' not in position:
        raise ValueError(f'the position lacks stream {number}')
      _restore(iterator, position[f'stream_{number}'])


def _fill(array, rows: int, like) -> np.ndarray:
  """Pads `array`, or nothing, with zeros (padding, weight 0) to `rows` rows."""
  like = np.asarray(like)
  array = like[:0] if array is None else np.asarray(array)
  if len(array) == rows:
    return array
  filled = np.zeros((rows, *like.shape[1:]), like.dtype)
  filled[: len(array)] = array
  return filled


def _save(iterator) -> bytes:
  """Returns tf.data's symbolic checkpoint of an iterator."""
  with tempfile.TemporaryDirectory() as directory:
    path = tf.train.Checkpoint(iterator=iterator).write(f'{directory}/at')
    contents = {
      suffix: np.fromfile(path + suffix, np.uint8)
      for suffix in ('.index', '.data-00000-of-00001')
    }
  sizes = np.array([len(part) for part in contents.values()], np.int64)
  return sizes.tobytes() + b''.join(x.tobytes() for x in contents.values())


def _restore(iterator, saved: bytes) -> None:
  index_size = int(np.frombuffer(saved[:8], np.int64)[0])
  with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, 'at')
    with open(path + '.index', 'wb') as file:
      file.write(saved[16 : 16 + index_size])
    with open(path + '.data-00000-of-00001', 'wb') as file:
      file.write(saved[16 + index_size :])
    status = tf.train.Checkpoint(iterator=iterator).read(path)
    status.assert_existing_objects_matched()


def find_task(
  task: str | seqio.Task | seqio.Mixture,
) -> seqio.Task | seqio.Mixture:
  """Returns a task or mixture by name.

  Raises:
    UserError: there is none; the message has the nearest name.
  """
  if not isinstance(task, str):
    return task
  names = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
  if task not in names:
    near = difflib.get_close_matches(task, names, n=1) or sorted(names)
    raise UserError(
      f'no task is named {task!r}; '
      + (f'did you mean {near[0]!r}?' if near else 'none is registered')
    )
  return seqio.get_mixture_or_task(task)


def batches(
  task: str | seqio.Task | seqio.Mixture,
  batch_size: int,
  length: int,
  predictions: int,
  seed: int,
  split: str = 'train',
  epochs: int | None = None,
  shuffle: bool = True,
  sequences: int = 1,
  streams: int = STREAMS,
  process_rows: Sequence[int] | None = None,
) -> Batches:
  """Returns the batches of a task.

  Args:
    task: name in seqio's registries, or the task itself.
    batch_size: B of the global batch, over all processes.
    length: L, tokens per row.
    predictions: P, the most targets per row.
    seed: for shuffling, pairing and masking; the same seed gives the same
      batches.
    split: 'train' or 'validation'.
    epochs: how often to read the split; None: forever. With a number, every
      example comes exactly once per epoch, and the last batches are padded.
    shuffle: whether documents are read in random order.
    sequences: S, the most sequences in a row; above 1 they are packed, see
      `features.pack`.
    streams: the most streams; their greatest common divisor with the batch size
      is used.
    process_rows: which rows of the global batch this process returns,
      ascending, see `partitioning.process_rows`; None: all. The process runs
      the streams of these rows, some of which other processes may run too.
  """
  task = find_task(task)
  streams = math.gcd(batch_size, streams)
  rows = batch_size // streams
  wanted = (
    np.arange(batch_size) if process_rows is None else np.asarray(process_rows)
  )
  own, order = np.unique(wanted // rows, return_inverse=True)
  datasets = {
    stream: _stream(
      task,
      stream,
      streams,
      rows,
      length,
      predictions,
      seed,
      split,
      epochs,
      shuffle,
      sequences,
    )
    for stream in map(int, own)
  }
  return Batches(datasets, rows, order * rows + wanted % rows)


def _stream(
  task: seqio.Task | seqio.Mixture,
  stream: int,
  streams: int,
  rows: int,
  length: int,
  predictions: int,
  seed: int,
  split: str,
  epochs: int | None,
  shuffle: bool,
  sequences: int,
) -> tf.data.Dataset:
  """Returns one stream's rows of each global batch."""
  lengths = features.task_feature_lengths(length, predictions)
  dataset = task.get_dataset(
    sequence_length=lengths,
    split=split,
    shuffle=shuffle,
    # seqio adds small numbers to a seed: keep the streams' seeds far apart.
    seed=int(hashing.mix(seed, stream) >> np.uint64(33)),
    shard_info=seqio.ShardInfo(index=stream, num_shards=streams),
    num_epochs=epochs,
    trim_output_features=False,
    try_in_mem_cache=False,
  )
  dataset = features.PretrainingConverter()(dataset, lengths)
  if sequences > 1:
    dataset = features.pack(dataset, sequences)
  dataset = dataset.batch(rows, drop_remainder=epochs is None).prefetch(2)
  options = tf.data.Options()
  options.deterministic = True
  options.experimental_symbolic_checkpoint = True
  # Autotune's thread has been seen to block the deletion of an iterator.
  options.autotune.enabled = False
  # TensorFlow takes numpy functions for stateful, but ours are pure.
  options.experimental_external_state_policy = (
    tf.data.experimental.ExternalStatePolicy.IGNORE
  )
  return dataset.with_options(options)
