"""The contract between data and model: what a batch of masked sequences is.

    >>> from bertjax import batch
    >>> example = batch.synthetic(batch_size=2, length=16, predictions=3,
    ...                           vocabulary_size=100, seed=0)
    >>> batch.check(example)
    >>> example['targets'].shape
    (2, 3)

A batch is a dict of numpy or JAX arrays:

  tokens           int32[B, L], ids as the model reads them, masks applied
  types            int32[B, L], BERT's sentence A (0) or B (1)
  positions        int32[B, L], index of a token within its sequence
  segments         int32[B, L], which packed sequence, from 1; 0 for padding
  target_positions int32[B, P], positions in the row that are predicted
  targets          int32[B, P], the original ids there
  weights          float32[B, P], 1 for a target, 0 for padding
  first_positions  int32[B, S], position in the row of each sequence's [CLS]
  pair_labels      int32[B, S], 0 if sentence B follows A, 1 if it is random
                   (or swapped, or of another document: `text.pairs.PAIRS`)
  pair_weights     float32[B, S], 1 where a pair label counts, else 0

With noise beside the masks (`text.noises`) it also has one of

  order_weights    float32[B, P], 1 for a target in a shuffled trigram, else 0;
                   such a target has no `weights`
  detection_labels int32[B, L], 1 for a token that noise put there, or before
                   which it took one away, else 0
  detection_weights float32[B, L], 1 where a detection label counts, else 0

A batch of a task has the first four, `first_positions` and, instead of the
others, in the form that its kind (`tasks.kinds`) has:

  labels           int32[B, S] classes, float32[B, S] numbers, float32[B, S, C]
                   1 for each label of several, int32[B, L] tags, or
                   int32[B, S, 2] first and last token of a span
  label_weights    float32 of the labels' shape, without C or 2; 1 where a
                   label counts, else 0
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bertjax.errors import UserError, choose, expect
from bertjax.values import Count, Natural, Rate, Share, checked

# jax takes 1.5 s to import, which processes that only tokenize do not spend.
if TYPE_CHECKING:
  import jax

  Batch = Mapping[str, jax.Array | np.ndarray]
else:
  Batch = Mapping[str, Any]
Key = tuple[str, type]  # dimensions, of which a digit is a size; and dtype
# A share of the tokens, or the (lowest, highest) of those that examples draw;
# that of masks may be 0, for noise alone.
Rates = Share | Sequence[Share]
MaskRates = Rate | Sequence[Rate]

KEYS: dict[str, Key] = {
  'tokens': ('BL', np.int32),
  'types': ('BL', np.int32),
  'positions': ('BL', np.int32),
  'segments': ('BL', np.int32),
  'target_positions': ('BP', np.int32),
  'targets': ('BP', np.int32),
  'weights': ('BP', np.float32),
  'first_positions': ('BS', np.int32),
  'pair_labels': ('BS', np.int32),
  'pair_weights': ('BS', np.float32),
  'order_weights': ('BP', np.float32),
  'detection_labels': ('BL', np.int32),
  'detection_weights': ('BL', np.float32),
}
# What noise is to teach -> the keys that it adds.
NOISE_TARGETS = {
  'order': ('order_weights',),
  'detection': ('detection_labels', 'detection_weights'),
}
PRETRAINING = tuple(KEYS)[:10]
TASK = ('tokens', 'types', 'positions', 'segments', 'first_positions')


@checked
def shapes(
  batch_size: Count,
  length: Count,
  predictions: Natural,
  sequences: Count = 1,
  keys: Iterable[str] = PRETRAINING,
) -> 'dict[str, jax.ShapeDtypeStruct]':
  """Returns the shape and dtype of `keys`, those of a pretraining batch."""
  import jax

  sizes = {'B': batch_size, 'L': length, 'P': predictions, 'S': sequences}
  return {
    key: jax.ShapeDtypeStruct([sizes[x] for x in KEYS[key][0]], KEYS[key][1])
    for key in keys
  }


def bounds_of(rate: MaskRates) -> tuple[float, float]:
  """Returns the lowest and the highest rate that an example may draw.

  >>> bounds_of(0.15), bounds_of((0.1, 0.3))
  ((0.15, 0.15), (0.1, 0.3))
  """
  if isinstance(rate, int | float):
    return rate, rate
  low, high = rate
  return low, high


def check_rate(rate: MaskRates, macro: str) -> None:
  """Raises UserError unless a rate is a number or (lowest, highest)."""
  if not isinstance(rate, int | float):
    fits = len(rate) == 2 and rate[0] <= rate[1]
    what = 'a rate, or the lowest and the highest of those to draw from'
    expect(fits, what, rate, macro)


@checked
def predictions_of(
  length: Count, mask_rate: MaskRates, more: Natural = 0
) -> int:
  """Returns P for a row: at 15%, 20 for L = 128 and 77 for 512, as in BERT.

  Args:
    length: L.
    mask_rate: share of the tokens that are masked, or its bounds.
    more: targets for noise beside the masks.
  """
  check_rate(mask_rate, 'MASK_RATE')
  highest = bounds_of(mask_rate)[1]
  return max(1, int(np.ceil(round(length * highest, 6)))) + more


@checked
def sequences_of(length: Count, pack: bool, most: Count | None = None) -> int:
  """Returns S for a row: 1, or if packed, 8 for L = 128 and 32 for 512.

  Args:
    length: L.
    pack: whether sequences share rows.
    most: S of a packed row; None: L / 16, enough to fill a row with sequences
      of 16 tokens; pooling so many costs 0.04% of the arithmetic of 12 layers.
  """
  if not pack:
    return 1
  return most or max(2, length // 16)


def check(
  batch: Batch,
  keys: Iterable[str] = PRETRAINING,
  reader: str = 'bertjax.batch',
  more: Mapping[str, Key] | None = None,
) -> None:
  """Refuses a batch that lacks something that its reader needs.

  Compares shapes and dtypes only, so it costs nothing and works on tracers.
  Other keys may be there too.

  Args:
    batch: of one process or of all.
    keys: those that are read.
    reader: what reads them, for the message.
    more: describes those of `keys` that `KEYS` does not have.

  Raises:
    UserError: a key is missing, or has another dtype or other dimensions.
  """
  table = KEYS | dict(more or {})
  sizes: dict[str, int] = {}  # by the dimension's letter
  for key in keys:
    dimensions, dtype = choose(table, key, f'{reader}.keys')
    expected = ', '.join(
      f'{letter}={sizes[letter]}' if letter in sizes else letter
      for letter in dimensions
    )
    got, fits = f'none among {", ".join(sorted(batch))}', False
    if (array := batch.get(key)) is not None:
      got = f'{np.dtype(array.dtype).name}{list(array.shape)}'
      fits = (array.dtype, array.ndim) == (dtype, len(dimensions)) and all(
        size == (int(x) if x.isdigit() else sizes.setdefault(x, size))
        for x, size in zip(dimensions, array.shape, strict=True)
      )
    if not fits:
      raise UserError(
        f'{reader} reads {key}: expected {np.dtype(dtype).name}[{expected}], '
        f'got {got}; set loop.train.batches to data that has it, or another '
        'objective'
      )


def synthetic(
  batch_size: int,
  length: int,
  predictions: int,
  vocabulary_size: int,
  seed: int,
  sequences: int = 1,
) -> dict[str, np.ndarray]:
  """Returns a random batch that keeps the contract, for tests and benchmarks.

  Each row is at least half full, with `sequences` sequences of about the same
  size. No target is in the first quarter of the vocabulary.
  """
  rng = np.random.default_rng(seed)
  shape = (batch_size, length)
  first_id = vocabulary_size // 4
  lengths = rng.integers(length // 2, length + 1, (batch_size, 1))
  real = np.arange(length) < lengths
  counts = np.minimum(predictions, np.maximum(1, lengths * 15 // 100))
  scores = np.where(real, rng.random(shape), 2.0)
  order = np.argsort(scores, axis=1, kind='stable')[:, :predictions]
  counted = np.arange(predictions) < counts
  # Where each sequence and the next one begin; then the same for its tokens.
  bounds = np.arange(sequences + 1) * lengths // sequences
  number = (np.arange(length) >= bounds[:, 1:-1, None]).sum(1)
  begin = np.take_along_axis(bounds, number, 1)
  half = (np.take_along_axis(bounds, number + 1, 1) - begin) // 2
  positions = np.arange(length) - begin
  found = {
    'tokens': real * rng.integers(first_id, vocabulary_size, shape),
    'types': real & (positions >= half),
    'positions': positions,
    'segments': real * (number + 1),
    'target_positions': counted * order,
    'targets': counted * rng.integers(first_id, vocabulary_size, order.shape),
    'weights': counted,
    'first_positions': bounds[:, :-1],
    'pair_labels': rng.integers(0, 2, (batch_size, sequences)),
    'pair_weights': np.ones((batch_size, sequences)),
  }
  return {key: array.astype(KEYS[key][1]) for key, array in found.items()}
