"""Turns the examples of a pretraining task into what the model reads.

    lengths = features.task_feature_lengths(length=128, predictions=20)
    dataset = features.to_rows(task.get_dataset(lengths))
    dataset = features.pack(dataset, sequences=16)  # up to 16 in a row

seqio's own encoder converter computes the loss only at [MASK] tokens, which
leaves out the kept and the random targets of 80/10/10; here every target has a
weight. `bertjax.batch` explains the keys.
"""

import functools

from bertjax import batch
from bertjax.data import numpy_calls
from bertjax.data.quiet_tensorflow import tf
from bertjax.errors import expect
from bertjax.text import batching, packing

# Sequences that are packed together. Wikipedia's pairs at 512 tokens fill 97.7%
# of the slots with a window of 64, 98.7% with 256, 99.0% with 512
# (experiments/LOG.md).
WINDOW = 256
# What a task's examples have, and which of these are a scalar each.
TASK = tuple(
  key
  for key in batch.PRETRAINING
  if key not in ('positions', 'first_positions')
)
PAIR = ('pair_labels', 'pair_weights')


def task_feature_lengths(length: int, predictions: int) -> dict[str, int]:
  """Returns seqio's `sequence_length`: L, P or 1 for each task feature."""
  shapes = batch.shapes(1, length, predictions)
  return {key: shapes[key].shape[1] for key in TASK}


@tf.autograph.experimental.do_not_convert
def to_rows(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Makes of each example a row of one sequence (S = 1).

  Before: pair_labels 1. After: pair_labels [1], first_positions [0].

  Raises:
    UserError: the examples lack what pretraining needs.
  """
  missing = [key for key in TASK if key not in dataset.element_spec]
  with_all, fix = f'examples with {", ".join(missing)}', 'pipeline.batches.task'
  expect(not missing, with_all, list(dataset.element_spec), fix)

  def convert(example):
    return {
      **{key: example[key] for key in TASK},
      'positions': tf.range(tf.shape(example['tokens'])[0]),
      'first_positions': tf.zeros([1], tf.int32),
      **{key: example[key][None] for key in PAIR},
    }

  return dataset.map(convert, num_parallel_calls=tf.data.AUTOTUNE)


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
    dataset: the output of `to_rows`.
    sequences: S, the most sequences in a row.
    window: how many examples are packed together.
  """
  element = dataset.element_spec
  sizes = {
    'L': element['tokens'].shape[0],
    'P': element['targets'].shape[0],
    'S': sequences,
  }
  outputs = {
    key: tf.TensorSpec([None, sizes[dimensions[1]]], dtype)
    for key, (dimensions, dtype) in batch.KEYS.items()
  }

  def pack_window(segments, **examples):
    own = {
      'L': (segments > 0).sum(1).tolist(),
      'P': (examples['weights'] > 0).sum(1).tolist(),
      'S': [1] * len(segments),
    }
    groups = packing.pack(
      own['L'],
      lambda _: sizes['L'],
      [(own[letter], sizes[letter]) for letter in 'PS'],
    )
    # TASK without segments, which `join` makes.
    letters = {key: batch.KEYS[key][0][1] for key in TASK if key in examples}
    return batching.join(
      [
        [
          {key: examples[key][i, : own[x][i]] for key, x in letters.items()}
          for i in group
        ]
        for group in sorted(groups)
      ],
      len(groups),
      sizes,
    )

  pack_tensors = functools.partial(
    numpy_calls.call, pack_window, outputs=outputs
  )
  return dataset.batch(window).map(pack_tensors).unbatch()
