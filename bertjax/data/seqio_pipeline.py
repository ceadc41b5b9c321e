"""Batches of a seqio task: those of `bertjax.corpus.pipeline`, bit for bit.

    pretraining_tasks.register('novels', prepared)
    batches = iter(seqio_pipeline.batches('novels', batch_size=32, length=128,
                                          predictions=20, seed=0))
    batch = next(batches)              # dict of numpy arrays, see bertjax.batch
    position = batches.position()      # {'stream_0': b'...', ...}
    batches.restore(position)          # the same batches follow again

For tasks of your own: any that gives rows, see `pretraining_tasks`. A stream is
a shard of the task (seqio's ShardInfo) and fills fixed rows of every global
batch; a process runs the streams whose rows it feeds.
"""

import dataclasses
import math
import pathlib
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bertjax import batch
from bertjax.corpus import pipeline
from bertjax.data import pretraining_tasks
from bertjax.data.quiet_tensorflow import seqio, tf
from bertjax.errors import UserError, choose, expect
from bertjax.runs.progress_line import wait
from bertjax.values import Count, Natural, Seed, checked

_FILES = ('.index', '.data-00000-of-00001')  # of a checkpoint of TensorFlow
_SIZES = struct.Struct('<2q')


@dataclasses.dataclass(frozen=True)
class Batches:
  """Batches of a task; each iterator starts at the beginning.

  Attributes:
    datasets: stream of this process -> its rows of each global batch.
    rows: how many rows of a batch a stream has.
    picked: which of the rows to return, in this order: int[...] places in
      `datasets`, and int[...] rows of these.
  """

  datasets: dict[int, tf.data.Dataset]
  rows: int
  picked: tuple[np.ndarray, np.ndarray]

  def __iter__(self) -> 'BatchIterator':
    return BatchIterator(self)


class BatchIterator(Iterator):
  """This process's rows of the global batches, with a position to save."""

  def __init__(self, batches: Batches):
    self._batches = batches
    self._iterators = {
      f'stream_{number}': iter(dataset)
      for number, dataset in batches.datasets.items()
    }

  def __next__(self) -> dict[str, np.ndarray]:
    """Returns the next batch; the last ones are padded with empty rows.

    Raises:
      StopIteration: all streams have ended.
    """
    parts = [next(iterator, None) for iterator in self._iterators.values()]
    some = next((part for part in parts if part is not None), None)
    if some is None:
      raise StopIteration
    whole = {}
    for key, like in some.items():
      shape = (len(parts), self._batches.rows, *like.shape[1:])
      streams = np.zeros(shape, like.dtype.as_numpy_dtype)
      for rows, part in zip(streams, parts, strict=True):
        if part is not None:
          rows[: len(part[key])] = part[key]
      whole[key] = streams[self._batches.picked]
    return whole

  def position(self) -> dict[str, bytes]:
    """Returns the position of each stream, for `restore`."""
    return {name: _save(stream) for name, stream in self._iterators.items()}

  def restore(self, position: dict[str, bytes]) -> None:
    """Continues from what `position` returned, in this or another process.

    Raises:
      ValueError: the position has another number of streams.
    """
    for name, stream in self._iterators.items():
      if name not in position:
        raise ValueError(f'the position lacks {name}')
      _restore(stream, position[name])


def _save(iterator) -> bytes:
  """Returns tf.data's symbolic checkpoint of an iterator."""
  with tempfile.TemporaryDirectory() as directory:
    path = tf.train.Checkpoint(iterator=iterator).write(f'{directory}/at')
    files = [pathlib.Path(path + suffix).read_bytes() for suffix in _FILES]
  return _SIZES.pack(*map(len, files)) + b''.join(files)


def _restore(iterator, saved: bytes) -> None:
  data = _SIZES.size + _SIZES.unpack_from(saved)[0]
  files = saved[_SIZES.size : data], saved[data:]
  with tempfile.TemporaryDirectory() as directory:
    path = f'{directory}/at'
    for suffix, content in zip(_FILES, files, strict=True):
      pathlib.Path(path + suffix).write_bytes(content)
    status = tf.train.Checkpoint(iterator=iterator).read(path)
    status.assert_existing_objects_matched()


@checked
def batches(
  task: str | seqio.Task | seqio.Mixture,
  batch_size: Count,
  length: Count,
  predictions: Natural,
  seed: Seed,
  split: str = 'train',
  epochs: Count | None = None,
  shuffle: bool = True,
  sequences: Count = 1,
  streams: Count = pipeline.STREAMS,
  process_rows: Sequence[int] | np.ndarray | None = None,
) -> Batches:
  """Returns the batches of a task.

  Args:
    task: name in seqio's registries, or the task itself.
    batch_size: see `pipeline.batches`, as for all that follow.
    length: L, tokens per row.
    predictions: P, the most targets per row.
    seed: given to the task.
    split: one of the task's.
    epochs: how often to read the split; None: forever.
    shuffle: given to the task.
    sequences: S, the most sequences in a row.
    streams: the most streams.
    process_rows: which rows of the global batch this process returns.

  Raises:
    UserError: there is no such task or split, or its examples are no rows.
  """
  if isinstance(task, str):
    names = (*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names())
    choose(dict.fromkeys(names), task, 'seqio_pipeline.batches.task')
    task = seqio.get_mixture_or_task(task)
  name = 'seqio_pipeline.batches.split'  # which recipes set in scopes
  choose(dict.fromkeys(task.splits), split, f'train/{name} or eval/{name}')
  source = getattr(task, 'source', None)
  streams = (
    pipeline.streams_of(source.mixture, split, batch_size, streams)
    if isinstance(source, pretraining_tasks.CorpusSource)
    else math.gcd(batch_size, streams)
  )
  rows, own, picked = pipeline.own_streams(batch_size, streams, process_rows)
  shapes = batch.shapes(1, length, predictions, sequences, batch.KEYS)
  datasets = {}
  with wait(f'tracing the data pipeline of {split}'):
    for stream in own:
      try:
        dataset = task.get_dataset(
          sequence_length={key: shapes[key].shape[1] for key in shapes},
          split=split,
          shuffle=shuffle,
          seed=seed,
          shard_info=seqio.ShardInfo(index=stream, num_shards=streams),
          num_epochs=epochs,
          trim_output_features=False,
          try_in_mem_cache=False,
        )
      except ValueError as error:
        if 'shuffle_buffer_size' not in str(error):
          raise
        raise UserError(
          f'expected a task that can be shuffled, got {task.name} without '
          'shuffle_buffer_size; set that, or seqio_pipeline.batches.shuffle to '
          'False'
        ) from error
      _check_rows(dataset.element_spec)
      dataset = dataset.batch(rows, drop_remainder=epochs is None).prefetch(2)
      datasets[stream] = dataset.with_options(_options())
  return Batches(datasets, rows, picked)


def _check_rows(spec: Mapping[str, tf.TensorSpec]) -> None:
  missing = [key for key in batch.PRETRAINING if key not in spec]
  what = f'examples with {", ".join(missing)}'
  fix = 'seqio_pipeline.batches.task'
  expect(not missing, what, list(spec), fix)
  wrong = [key for key in batch.PRETRAINING if spec[key].shape.rank != 1]
  what = f'examples whose {", ".join(wrong)} have one dimension'
  expect(not wrong, what, [str(spec[key].shape) for key in wrong], fix)


def _options() -> tf.data.Options:
  options = tf.data.Options()
  options.deterministic = True
  options.experimental_symbolic_checkpoint = True
  # Autotune's thread has been seen to block the deletion of an iterator.
  options.autotune.enabled = False
  # Some sources hold what TensorFlow takes for stateful, but all are pure.
  options.experimental_external_state_policy = (
    tf.data.experimental.ExternalStatePolicy.IGNORE
  )
  return options
