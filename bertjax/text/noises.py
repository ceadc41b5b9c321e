"""Adds noise beside the masks, and what a model is to find or to put right.

    >>> import types
    >>> vocabulary = types.SimpleNamespace(
    ...     special=np.arange(12) < 5, replacements=np.arange(5, 12))
    >>> tokens_BL = np.array([[2, 5, 6, 7, 8, 3]])  # [CLS] the cat sat by [SEP]
    >>> rows = {'tokens': tokens_BL, 'types': 0 * tokens_BL,
    ...         'segments': 0 * tokens_BL + 1}
    >>> noised, _ = add(rows, np.uint64([3]), vocabulary, 'deletion', 0.4)
    >>> noised['tokens'].tolist(), noised['detection_labels'].tolist()
    ([[2, 5, 7, 8, 3, 0]], [[0, 0, 1, 0, 0, 0]])

A row of `NOISES` is a way to disturb a text, with what there is to learn:

  permutation  Shuffles trigrams; the targets are the tokens at their places.
               Source: Wang et al. 2019 (StructBERT), section 2.2.1.
  replacement  Puts a random token in the place of a token; each token is to be
               told apart from the original. Source: Clark et al. 2020
               (ELECTRA), section 2, whose generator is here a uniform one.
  insertion    Puts a random token behind a token; to be told from the others.
  deletion     Takes a token away; the token behind such a gap is to be told.
               Source: Lewis et al. 2019 (BART), section 2.2, for the noise;
               Gu et al. 2019 (Levenshtein Transformer), section 3.1, whose
               policies decide for each token whether to delete it and for each
               gap whether to fill it, for what is learnt from these two.

Special tokens and padding are never touched, and a row depends on its tokens
and its seed alone. Masks come afterwards, and spare what noise has touched.
Rates are shares, exact in the mean: of the tokens that are not special; of the
trigrams for permutation; for deletion, of the tokens but the first of each
segment, so that none becomes empty.

Deviation: [CLS] and [SEP], which noise never puts there, and masked targets are
not among the tokens to be told; ELECTRA counts all.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bertjax import batch
from bertjax.batch import Rates, bounds_of
from bertjax.errors import choose, expect
from bertjax.text import hashing, masking
from bertjax.values import Count, checked

# Coordinates of the hash, beyond those of `masking`.
_TOKEN, _ORDER = 100, 101
# All orders of three, the right one among them, as in StructBERT.
_ORDERS = np.array(
  [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
)

Rows = dict[str, np.ndarray]


class Noise(NamedTuple):
  """A way to disturb a text.

  Attributes:
    add: (rows, clean_BL, seeds_B, vocabulary, rate) -> the rows and bool[B, L],
      which of their tokens were touched. `clean_BL` are the tokens that may be.
    target: what there is to learn, a key of `batch.NOISE_TARGETS`.
    rate: the usual one.
    most: the highest; beyond a half, noise would be the rule.
    inserts: whether rows become longer, at most by the rate.
  """

  add: Callable[..., tuple[Rows, np.ndarray]]
  target: str
  rate: float
  most: float = 0.5
  inserts: bool = False


def add(
  rows: Rows,
  seeds_B: np.ndarray,
  vocabulary: masking.Vocabulary,
  noise: str,
  rate: Rates | None = None,
) -> tuple[Rows, np.ndarray]:
  """Disturbs rows.

  Args:
    rows: `tokens`, `types` and `segments`, one sequence each, with room for
      what is inserted, see `text_length`.
    seeds_B: uint64[B], others than those of masks.
    vocabulary: that of the tokens.
    noise: a key of `NOISES`.
    rate: a share, or the bounds between which each row draws its own; None: the
      usual one.

  Returns:
    the rows with the keys of the noise's target, and bool[B, L], the tokens
    that masks are to spare. For 'order', `targets` [B, L] are the right tokens
    and `order_weights` [B, L], until `with_masks` gathers them.
  """
  clean_BL = (rows['segments'] > 0) & ~vocabulary.special[rows['tokens']]
  row = NOISES[noise]
  return row.add(rows, clean_BL, seeds_B, vocabulary, rate or row.rate)


def with_masks(
  noised: Rows, masked: Rows, noise: str, predictions: int
) -> Rows:
  """Puts together what `add` and `masking.mask` returned.

  Args:
    noised: of `add`.
    masked: of `masking.mask`, given the tokens of `noised`, what it is to spare
      and P less `most_targets`.
    noise: a key of `NOISES`.
    predictions: P.

  Returns:
    all keys of `noised` and `masked`.
  """
  weights_BP, positions_BP = masked['weights'], masked['target_positions']
  if NOISES[noise].target == 'detection':
    # Whatever a mask put there says nothing about the noise.
    counts_BL = noised['detection_weights'].copy()
    row, slot = np.nonzero(weights_BP)
    counts_BL[row, positions_BP[row, slot]] = 0
    return {**noised, **masked, 'detection_weights': counts_BL}
  # The masks and the shuffled tokens in the order of their positions.
  kinds_BL = np.zeros(noised['tokens'].shape, np.int8)
  kinds_BL[noised['order_weights'] > 0] = 2
  row, slot = np.nonzero(weights_BP)
  kinds_BL[row, positions_BP[row, slot]] = 1
  positions_BP = np.argsort(kinds_BL == 0, axis=1, kind='stable')
  positions_BP = positions_BP[:, :predictions]
  kinds_BP = np.take_along_axis(kinds_BL, positions_BP, 1)
  targets_BP = np.take_along_axis(noised['targets'], positions_BP, 1)
  return {
    **noised,
    'tokens': masked['tokens'],
    'target_positions': np.where(kinds_BP, positions_BP, 0).astype(np.int32),
    'targets': np.where(kinds_BP, targets_BP, 0).astype(np.int32),
    'weights': (kinds_BP == 1).astype(np.float32),
    'order_weights': (kinds_BP == 2).astype(np.float32),
  }


def check(
  noise: str | None, rate: Rates | None, fix: str = 'NOISE_RATE'
) -> None:
  """Raises UserError if there is no such noise, or not at this rate.

  Args:
    noise: None: none, which has no rate.
    rate: None: the usual one.
    fix: what to set to change the rate.
  """
  if noise is None:
    what = 'None, for there is no NOISE'
    expect(rate is None, what, rate, f'{fix}, or NOISE')
    return
  row = choose(NOISES, noise, 'NOISE')
  if rate is not None:
    batch.check_rate(rate, fix)
    what = f'at most {row.most} for NOISE={noise}'
    expect(bounds_of(rate)[1] <= row.most, what, rate, fix)


@checked
def target_of(noise: str | None) -> str | None:
  """Returns what there is to learn from a noise: 'order' or 'detection'."""
  return None if noise is None else choose(NOISES, noise, 'NOISE').target


@checked
def keys_of(noise: str | None) -> tuple[str, ...]:
  """Returns the keys of a batch for pretraining with this noise."""
  target = target_of(noise)
  more = () if target is None else batch.NOISE_TARGETS[target]
  return (*batch.PRETRAINING, *more)


@checked
def most_targets(
  length: Count, noise: str | None, rate: Rates | None = None
) -> int:
  """Returns how many targets a row may have beside its masks.

  Args:
    length: L.
    noise: a key of `NOISES`; None: no noise.
    rate: see `add`.
  """
  check(noise, rate)
  if noise is None or NOISES[noise].target != 'order':
    return 0
  highest = bounds_of(rate or NOISES[noise].rate)[1]
  return 3 * int(np.ceil(round(length * highest, 6)))


def text_length(length: int, noise: str | None, rate: Rates | None) -> int:
  """Returns the most tokens of a row to which noise may be added.

      >>> text_length(128, 'insertion', 0.1), text_length(128, 'deletion', 0.1)
      (116, 128)

  Args:
    length: L.
    noise: a key of `NOISES`; None: no noise.
    rate: see `add`.
  """
  if noise is None or not NOISES[noise].inserts:
    return length
  return int(round(length / (1 + bounds_of(rate or NOISES[noise].rate)[1]), 6))


def _replace(rows, clean_BL, seeds_B, vocabulary, rate):
  """Before: the cat sat; after: the of sat, with labels 0 1 0.

  A random token that is the right one is an original, as in ELECTRA.
  """
  count_B = masking.budget(clean_BL.sum(1), rate, seeds_B)
  chosen_BL = masking.choose_tokens(clean_BL, count_B, seeds_B)
  tokens_BL = rows['tokens']
  random_BL = _random(tokens_BL.shape, seeds_B, vocabulary)
  new_BL = np.where(chosen_BL, random_BL, tokens_BL).astype(np.int32)
  changed_BL = new_BL != tokens_BL
  return _labelled({**rows, 'tokens': new_BL}, changed_BL, clean_BL, changed_BL)


def _insert(rows, clean_BL, seeds_B, vocabulary, rate):
  """Before: the cat sat; after: the cat of sat, with labels 0 0 1 0."""
  count_B = masking.budget(clean_BL.sum(1), rate, seeds_B)
  chosen_BL = masking.choose_tokens(clean_BL, count_B, seeds_B)
  random_BL = _random(clean_BL.shape, seeds_B, vocabulary)
  # Behind each token a place that stays empty unless it was chosen.
  kept = _pairwise(rows['segments'] > 0, chosen_BL)
  is_new = _pairwise(np.zeros_like(clean_BL), chosen_BL)
  rows = {key: _pairwise(x, x) for key, x in rows.items()}
  rows['tokens'][:, 1::2] = random_BL
  rows, is_new_BL = _close_up(rows, is_new, kept, clean_BL.shape[1])
  clean_BL = (rows['segments'] > 0) & ~vocabulary.special[rows['tokens']]
  return _labelled(rows, is_new_BL, clean_BL, is_new_BL)


def _delete(rows, clean_BL, seeds_B, vocabulary, rate):
  """Before: the cat sat [SEP]; after: the sat [SEP], with labels 0 1 0."""
  # Not the first of a segment: no model could say that something was there.
  among_BL = clean_BL & _shifted(clean_BL)
  count_B = masking.budget(among_BL.sum(1), rate, seeds_B)
  gone_BL = masking.choose_tokens(among_BL, count_B, seeds_B)
  kept_BL = (rows['segments'] > 0) & ~gone_BL
  gap_BL = _shifted(gone_BL)
  length = clean_BL.shape[1]
  rows, gap_BL = _close_up(rows, gap_BL, kept_BL, length)
  real_BL = rows['segments'] > 0
  clean_BL = real_BL & ~vocabulary.special[rows['tokens']]
  # A [SEP] is told as well, for what stood before it may be gone.
  told_BL = real_BL & _shifted(clean_BL)
  return _labelled(rows, gap_BL, told_BL, np.zeros_like(gap_BL))


def _permute(rows, clean_BL, seeds_B, vocabulary, rate):
  """Before: the cat sat down; after: the sat down cat, a trigram shuffled.

  The trigrams do not overlap, nor reach over a special token. Each blocks at
  most 5 places where one may begin, so up to a rate of 1/5 there is a place for
  all of them.
  """
  tokens_BL = rows['tokens']
  length = tokens_BL.shape[1]
  starts_BL = clean_BL & _shifted(clean_BL, -1) & _shifted(clean_BL, -2)
  count_B = masking.budget(starts_BL.sum(1), rate, seeds_B)
  columns_L = np.arange(length)
  score_BL = np.where(
    starts_BL, hashing.uniform(seeds_B[:, None], _TOKEN, columns_L), 2.0
  )
  source_BL = np.tile(columns_L, (len(tokens_BL), 1))
  touched_BL = np.zeros_like(clean_BL)
  for turn in range(int(count_B.max(initial=0))):
    (row_X,) = np.nonzero(turn < count_B)
    start_X = np.argmin(score_BL[row_X], axis=1)
    order_X = hashing.integers(len(_ORDERS), seeds_B[row_X], _ORDER, start_X)
    place_X3 = start_X[:, None] + np.arange(3)
    source_BL[row_X[:, None], place_X3] = start_X[:, None] + _ORDERS[order_X]
    touched_BL[row_X[:, None], place_X3] = True
    blocked_X5 = np.clip(start_X[:, None] + np.arange(-2, 3), 0, length - 1)
    score_BL[row_X[:, None], blocked_X5] = 2.0
  shuffled = {
    **rows,
    'tokens': np.take_along_axis(tokens_BL, source_BL, 1),
    'targets': tokens_BL,
    'order_weights': touched_BL.astype(np.float32),
  }
  return shuffled, touched_BL


def _labelled(rows, labels_BL, told_BL, touched_BL):
  return {
    **rows,
    'detection_labels': labels_BL.astype(np.int32),
    'detection_weights': told_BL.astype(np.float32),
  }, touched_BL


def _random(shape, seeds_B, vocabulary):
  choices = vocabulary.replacements
  columns_L = np.arange(shape[1])
  place_BL = hashing.integers(len(choices), seeds_B[:, None], _TOKEN, columns_L)
  return choices[place_BL]


def _shifted(array_BL, by=1):
  """Returns for each place what stands `by` places before it, or False."""
  shifted_BL = np.zeros_like(array_BL)
  if by > 0:
    shifted_BL[:, by:] = array_BL[:, :-by]
  else:
    shifted_BL[:, :by] = array_BL[:, -by:]
  return shifted_BL


def _pairwise(first_BL, second_BL):
  """Returns [B, 2 L], one of the first, one of the second, and so on."""
  rows, length = first_BL.shape
  return np.stack([first_BL, second_BL], -1).reshape(rows, 2 * length)


def _close_up(rows, marks, kept, length):
  """Returns what is kept of rows and marks, moved to the left: [B, L]."""
  order_BL = np.argsort(~kept, axis=1, kind='stable')[:, :length]
  kept_BL = np.take_along_axis(kept, order_BL, 1)
  rows = {
    key: np.where(kept_BL, np.take_along_axis(x, order_BL, 1), 0).astype(
      x.dtype
    )
    for key, x in rows.items()
  }
  return rows, np.take_along_axis(marks, order_BL, 1) & kept_BL


NOISES = {
  'permutation': Noise(_permute, 'order', rate=0.05, most=0.2),  # StructBERT
  'replacement': Noise(_replace, 'detection', rate=0.15),  # ELECTRA
  # These rates are ours: no published one is for an encoder that detects. At a
  # tenth of the tokens, most gaps and strangers stand in whole neighbourhoods.
  'insertion': Noise(_insert, 'detection', rate=0.1, inserts=True),
  'deletion': Noise(_delete, 'detection', rate=0.1),
}
