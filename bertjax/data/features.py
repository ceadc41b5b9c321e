"""Turns the examples of a pretraining task into what the model reads.

    lengths = features.task_feature_lengths(length=128, predictions=20)
    converter = features.PretrainingConverter()
    dataset = converter(task.get_dataset(lengths), lengths)
    dataset = features.pack(dataset, sequences=16)  # up to 16 in a row

seqio's own encoder converter computes the loss only at [MASK] tokens, which
leaves out the kept and the random targets of 80/10/10; here every target has a
weight. `bertjax.batch` explains the keys.
"""

from collections.abc import Mapping

import numpy as np
import seqio
import tensorflow as tf

from bertjax import batch
from bertjax.text import batching, packing

# Sequences that are packed together. Wikipedia's pairs at 512 tokens fill 97.7%
# of the slots with a window of 64, 98.7% with 256, 99.0% with 512
# (experiments/LOG.md).
WINDOW = 256

_MADE = ('positions', 'first_positions')  # here, of one sequence a row
_PAIR = ('pair_labels', 'pair_weights')  # a scalar each, before conversion


class PretrainingConverter(seqio.FeatureConverter):
  """Adds positions and [CLS] positions; one sequence per row (S = 1)."""

  TASK_FEATURES = {
    key: seqio.FeatureConverter.FeatureSpec(
      tf.as_dtype(batch.KEYS[key][1]), rank=0 if key in _PAIR else 1
    )
    for key in batch.PRETRAINING
    if key not in _MADE
  }
  MODEL_FEATURES = {
    key: seqio.FeatureConverter.FeatureSpec(tf.as_dtype(batch.KEYS[key][1]))
    for key in batch.PRETRAINING
  }
  PACKING_FEATURE_DTYPES = None

  def __init__(self):
    # Lengths are static: `batch.check` checks them once.
    super().__init__(pack=False, apply_length_check=False)

  @tf.autograph.experimental.do_not_convert
  def _convert_features(self, ds, task_feature_lengths):
    """Before: pair_labels 1. After: pair_labels [1], first_positions [0]."""

    def convert(example):
      return {
        **{name: example[name] for name in self.TASK_FEATURES},
        'positions': tf.range(tf.shape(example['tokens'])[0]),
        'first_positions': tf.zeros([1], tf.int32),
        **{name: example[name][None] for name in _PAIR},
      }

    return ds.map(convert, num_parallel_calls=tf.data.AUTOTUNE)

  def get_model_feature_lengths(
    self, task_feature_lengths: Mapping[str, int]
  ) -> Mapping[str, int]:
    length = task_feature_lengths['tokens']
    return {
      **task_feature_lengths,
      **dict(zip(_MADE, (length, 1), strict=True)),
    }


def pack(
  dataset: tf.data.Dataset, sequences: int, window: int = WINDOW
) -> tf.data.Dataset:
  """Packs several sequences into one row, see `packing`.

  Before: 3 examples with segments [1 1 1 0], [1 1 1 1], [1 0 0 0]
  After:  2 rows with segments [1 1 1 2], [1 1 1 1]

  A row has three budgets: L tokens, P targets and S sequences. A sequence joins
  a row only if all three have room, so no token and no target is lost; if the
  targets run out first, the row keeps some padding. Each window of examples
  gives rows of its own, the last ones less full. The rows are a pure function
  of the examples, so a saved position holds none of them. They are ordered by
  their longest sequences, and so are as well mixed as the examples.

  Args:
    dataset: the output of `PretrainingConverter`.
    sequences: S, the most sequences in a row.
    window: how many examples are packed together.
  """
  element = dataset.element_spec
  length, predictions = element['tokens'].shape[0], element['targets'].shape[0]
  shapes = batch.shapes(1, length, predictions, sequences)

  def pack_window(*arrays):
    examples = dict(zip(element, arrays, strict=True))
    tokens = (examples['segments'] > 0).sum(1).tolist()
    targets = (examples['weights'] > 0).sum(1).tolist()
    sizes = {'L': length, 'P': predictions, 'S': sequences}
    groups = packing.pack(
      tokens,
      lambda _: length,
      [(targets, predictions), ([1] * len(tokens), sequences)],
    )
    packed = batching.join(
      [
        [_without_padding(examples, i, tokens[i], targets[i]) for i in group]
        for group in sorted(groups)
      ],
      len(groups),
      sizes,
    )
    return [packed[key] for key in shapes]

  def pack_tensors(examples):
    rows = tf.numpy_function(
      pack_window, [*examples.values()], [x.dtype for x in shapes.values()]
    )
    return {
      key: tf.ensure_shape(array, [None, *shapes[key].shape[1:]])
      for key, array in zip(shapes, rows, strict=True)
    }

  return dataset.batch(window).map(pack_tensors).unbatch()


def _without_padding(
  examples: Mapping[str, np.ndarray], index: int, tokens: int, targets: int
) -> dict[str, np.ndarray]:
  """Returns what `batching.join` takes of an example."""
  sizes = {'L': tokens, 'P': targets, 'S': 1}
  return {
    key: array[index, : sizes[batch.KEYS[key][0][1]]]
    for key, array in examples.items()
    if key not in ('positions', 'segments', 'first_positions')
  }


def task_feature_lengths(length: int, predictions: int) -> dict[str, int]:
  """Returns seqio's `sequence_length`: L, P or 1 for each task feature."""
  sizes = {'L': length, 'P': predictions, 'S': 1}
  return {
    key: sizes[batch.KEYS[key][0][1]]
    for key in batch.PRETRAINING
    if key not in _MADE
  }
