"""Prepared corpora as tasks in seqio's registry.

    pretraining_tasks.register('novels', prepared)
    task = seqio.get_mixture_or_task('novels')     # anywhere else
    seqio.MixtureRegistry.add('both', [('novels', 3), ('wikipedia', 1)])

An example is a row of a batch, packed or not: the keys of `bertjax.batch`
without their first dimension. It is what `bertjax.corpus.windows` makes, so
that `seqio_pipeline.batches` gives the batches of `bertjax.corpus.pipeline`, to
the last bit. Source: seqio's Task API.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from bertjax import batch
from bertjax.corpus import pipeline, shards
from bertjax.corpus.mixtures import Mixture
from bertjax.corpus.preparation import Prepared
from bertjax.corpus.windows import Form, form_of
from bertjax.data import numpy_calls, vocabularies
from bertjax.data.quiet_tensorflow import seqio, tf
from bertjax.text import noises
from bertjax.values import Count, Name, checked

# Without it TensorFlow spends seconds on reading the source of each function.
as_written = tf.autograph.experimental.do_not_convert
_LENGTH = 512  # of rows until a reader says so; there is room for any noise
_RECORD = ('split', 'seed', 'shuffle', 'stream', 'streams')


@checked
def register(
  name: Name,
  corpus: Prepared | Mixture,
  batch_size: Count | None = None,
  **form: Annotated[Any, Form],
) -> str:
  """Registers masked-LM (and next-sentence) pretraining on a corpus.

  Args:
    name: for `seqio.get_mixture_or_task`; replaces a task already registered by
      this name.
    corpus: a prepared one, or several that are mixed.
    batch_size: of the global batch, if the rates of a mixture change with the
      steps.
    **form: fields of `windows.Form`, such as `mask_rate`; its sizes are those
      that a reader of the task asks for.

  Returns:
    The name.
  """
  where = 'pretraining_tasks.register'
  rows_form = form_of(_LENGTH, _LENGTH, form, where)
  mixture = corpus if isinstance(corpus, Mixture) else Mixture([corpus])
  own = mixture.vocabulary
  vocabulary = vocabularies.BertVocabulary(*own.parts)
  seqio.TaskRegistry.remove(name)
  seqio.TaskRegistry.add(
    name,
    source=CorpusSource(mixture),
    preprocessors=[
      functools.partial(
        _rows, mixture=mixture, form=rows_form, batch_size=batch_size or 1
      )
    ],
    output_features={
      key: seqio.Feature(
        vocabulary, add_eos=False, dtype=tf.as_dtype(dtype), rank=1
      )
      for key in noises.keys_of(rows_form.noise)
      for _, dtype in [batch.KEYS[key]]
    },
    # Documents are shuffled by their numbers; a buffer of examples would only
    # make every checkpoint larger.
    shuffle_buffer_size=None,
  )
  return name


@dataclasses.dataclass(eq=False)
class CorpusSource(seqio.DataSource):
  """Says which windows of a corpus an epoch of a shard has: one record.

  Attributes:
    mixture: one or several corpora.
  """

  mixture: Mixture
  supports_arbitrary_sharding = True  # seqio leaves it to `get_dataset`

  def __post_init__(self) -> None:
    # seqio is not told the number of examples: it might cache them in memory,
    # which a symbolic checkpoint cannot restore.
    super().__init__(shards.SPLITS, performs_internal_shuffling=True)

  def list_shards(self, split: str) -> Sequence[str]:
    return [x.path for x in self.mixture.corpora]

  def get_dataset(
    self,
    split: str = 'train',
    shuffle: bool = True,
    seed: int | None = None,
    shard_info: seqio.ShardInfo | None = None,
    **unused: Any,
  ) -> tf.data.Dataset:
    """Returns the record, which seqio repeats.

    Args:
      split: 'train' or 'validation'.
      shuffle: whether pieces come in random order, anew at every repetition.
      seed: None is 0.
      shard_info: a shard is a stream, see `pipeline`.
      **unused: arguments that seqio passes and its other sources ignore too.
    """
    info = shard_info or seqio.ShardInfo(index=0, num_shards=1)
    values = split, seed or 0, shuffle, info.index, info.num_shards
    return tf.data.Dataset.from_tensors(
      {key: tf.constant(x) for key, x in zip(_RECORD, values, strict=True)}
      | {'seed': tf.constant(seed or 0, tf.int64)}
    )


@as_written
def _rows(
  dataset: tf.data.Dataset,
  sequence_length: Mapping[str, int],
  mixture: Mixture,
  form: Form,
  batch_size: int,
) -> tf.data.Dataset:
  """Makes of each record the rows of an epoch.

  Before: {split: 'train', seed: 0, shuffle: True, stream: 1, streams: 4}
  After:  {tokens: int32[L], ..., pair_weights: float32[S]}, many

  Args:
    dataset: of records, one an epoch, all alike.
    sequence_length: seqio's: 'tokens' is L, 'targets' P, 'pair_labels' S.
    mixture: one or several corpora.
    form: of the rows, but for L, P and S.
    batch_size: see `register`.
  """
  length = sequence_length['tokens']
  more = noises.most_targets(length, form.noise, form.noise_rate)
  sizes = {
    'L': length,
    'P': sequence_length.get('targets')
    or batch.predictions_of(length, form.mask_rate, more),
    'S': sequence_length.get('pair_labels') or 1,
  }
  rows_form = dataclasses.replace(
    form, length=length, predictions=sizes['P'], sequences=sizes['S']
  )
  outputs = {
    key: tf.TensorSpec([None, sizes[dimensions[1]]], dtype)
    for key in noises.keys_of(form.noise)
    for dimensions, dtype in [batch.KEYS[key]]
  }

  @functools.cache
  def windows(part, split, seed, shuffle, streams):
    return pipeline.windows_of(
      mixture, split.decode(), rows_form, seed, streams, shuffle
    )[part]

  def count(part, split, seed, shuffle, stream, streams):
    own = windows(part, split, int(seed), bool(shuffle), int(streams))
    return {'count': np.int64(len(own) // streams)}

  def make(part, number, split, seed, shuffle, stream, streams):
    own = windows(part, split, int(seed), bool(shuffle), int(streams))
    return own.rows(int(stream + number * streams))

  def rows_of(part, records):
    def epoch(number, record):
      spec = {'count': tf.TensorSpec([], tf.int64)}
      counting = functools.partial(count, part)
      several = numpy_calls.call(counting, record, spec)['count']
      return tf.data.Dataset.range(several).map(
        lambda i: record | {'number': number * several + i}
      )

    return (
      records.enumerate()
      .flat_map(epoch)
      .map(
        lambda x: numpy_calls.call(functools.partial(make, part), x, outputs),
        num_parallel_calls=1,
      )
      .unbatch()
    )

  parts = [rows_of(i, dataset) for i in range(len(mixture.corpora))]
  if len(parts) == 1:
    return parts[0]
  if dataset.cardinality() != tf.data.INFINITE_CARDINALITY:
    return functools.reduce(tf.data.Dataset.concatenate, parts)

  def choose_corpus(number, seed, stream, streams, **_):
    step = int(number) // max(1, batch_size // int(streams))
    chosen = mixture.choose(np.array([number]), step, int(seed), int(stream))
    return {'choice': chosen[0]}

  choices = dataset.enumerate().map(
    lambda number, record: numpy_calls.call(
      choose_corpus,
      record | {'number': number},
      {'choice': tf.TensorSpec([], tf.int64)},
    )['choice']
  )
  return tf.data.Dataset.choose_from_datasets(
    parts, choices, stop_on_empty_dataset=True
  )
