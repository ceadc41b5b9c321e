"""Chooses the tokens to predict and what replaces them.

    >>> import types
    >>> vocabulary = types.SimpleNamespace(
    ...     mask_id=4, special=np.arange(8) < 5, continuation=np.zeros(8, bool),
    ...     replacements=np.arange(5, 8))
    >>> tokens_BL = np.array([[2, 5, 6, 7, 3]])  # [CLS] the cat sat [SEP]
    >>> masked = mask(tokens_BL, np.ones_like(tokens_BL), np.uint64([0]),
    ...               vocabulary, rate=0.3, unit='token', predictions=1)
    >>> masked['tokens'].tolist()  # [CLS] the [MASK] sat [SEP]
    [[2, 5, 4, 7, 3]]
    >>> masked['targets'].tolist(), masked['target_positions'].tolist()
    ([[6]], [[2]])

A target is replaced by [MASK] in 80% of cases, by a random token in 10%, and
kept in 10%; all tokens of a span are treated alike. Source: Devlin et al. 2018,
section 3.1 and appendix A.1; whole words: google-research/bert, README of May
2019; spans: Joshi et al. 2019 (SpanBERT), section 3.1. With a range of rates,
each row draws its own, uniformly.

Deviation: the rate is a share of the tokens that may be masked, without [CLS]
and [SEP], and the count is rounded up or down at random, so that its mean is
exact. Random tokens are neither special nor unused entries, so no target turns
into [CLS].
"""

from typing import Annotated, Protocol

import numpy as np

from bertjax import values
from bertjax.batch import MaskRates, bounds_of
from bertjax.text import hashing

MASKED, RANDOM = 0.8, 0.1  # the rest is kept: Devlin et al. 2018
SPAN_STOP, SPAN_LONGEST = 0.2, 10  # words; SpanBERT, section 3.1

# Coordinates of the hash, so that no two decisions share random bits.
_BUDGET, _UNIT, _REPLACE, _TOKEN, _START, _LENGTH, _RATE = range(7)

# bool[B, L], whether a token becomes a target; int64[B, L], its case: tokens
# with the same case share the draw between [MASK], random and kept.
Chosen = tuple[np.ndarray, np.ndarray]


class Vocabulary(Protocol):
  """What masking needs to know about a vocabulary."""

  mask_id: int
  special: np.ndarray  # bool[V]
  continuation: np.ndarray  # bool[V]
  replacements: np.ndarray  # int32[R], ids to draw random tokens from


def mask(
  tokens_BL: np.ndarray,
  segments_BL: np.ndarray,
  seeds_B: np.ndarray,
  vocabulary: Vocabulary,
  rate: MaskRates,
  unit: str,
  predictions: int,
  spared_BL: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
  """Masks a batch of rows; each depends on its tokens and its seed alone.

  Args:
    tokens_BL: int32[B, L].
    segments_BL: int32[B, L], 0 for padding.
    seeds_B: uint64[B].
    vocabulary: that of the tokens.
    rate: share of the maskable tokens that become targets, or its bounds; 0:
      none do.
    unit: 'token', 'word' or 'span', a key of UNITS.
    predictions: P, the most targets of a row.
    spared_BL: bool[B, L], tokens that are not maskable; None: special ones.

  Returns:
    tokens int32[B, L], target_positions int32[B, P] ascending, targets
    int32[B, P], weights float32[B, P].
  """
  maskable_BL = (segments_BL > 0) & ~vocabulary.special[tokens_BL]
  if spared_BL is not None:
    maskable_BL &= ~spared_BL
  # As in BERT, a row that has any token has at least one target.
  least = int(bounds_of(rate)[1] > 0)
  budget_B = budget(maskable_BL.sum(1), rate, seeds_B)
  budget_B = np.clip(budget_B, least, predictions)
  continuation_BL = vocabulary.continuation[tokens_BL]
  word_BL = _numbers(maskable_BL, continuation_BL, segments_BL)
  chosen_BL, case_BL = UNITS[unit](maskable_BL, word_BL, budget_B, seeds_B)

  # A stable sort of booleans puts the chosen positions first, in order.
  positions_BP = np.argsort(~chosen_BL, axis=1, kind='stable')[:, :predictions]
  weights_BP = np.take_along_axis(chosen_BL, positions_BP, 1)
  targets_BP = np.take_along_axis(tokens_BL, positions_BP, 1)
  choices, seeds_B1 = vocabulary.replacements, seeds_B[:, None]
  choice_BP = hashing.integers(len(choices), seeds_B1, _TOKEN, positions_BP)
  case_BP = np.take_along_axis(case_BL, positions_BP, 1)
  draw_BP = hashing.uniform(seeds_B1, _REPLACE, case_BP)
  hidden_BP = np.where(draw_BP < MASKED, vocabulary.mask_id, choices[choice_BP])
  kept_BP = ~weights_BP | (draw_BP >= MASKED + RANDOM)
  masked_BL = tokens_BL.astype(np.int32)
  np.put_along_axis(
    masked_BL, positions_BP, np.where(kept_BP, targets_BP, hidden_BP), 1
  )
  return {
    'tokens': masked_BL,
    'target_positions': np.where(weights_BP, positions_BP, 0).astype(np.int32),
    'targets': np.where(weights_BP, targets_BP, 0).astype(np.int32),
    'weights': weights_BP.astype(np.float32),
  }


def budget(
  count_B: np.ndarray, rate: MaskRates, seeds_B: np.ndarray
) -> np.ndarray:
  """Returns `rate` of each count, rounded up or down so that its mean is exact.

  Args:
    count_B: int64[B].
    rate: a share, or the bounds between which each row draws its own.
    seeds_B: uint64[B].

  Returns:
    int64[B]
  """
  low, high = bounds_of(rate)
  own_B = low + (high - low) * hashing.uniform(seeds_B, _RATE)
  drawn_B = own_B * count_B + hashing.uniform(seeds_B, _BUDGET)
  return np.floor(drawn_B).astype(np.int64)


def choose_tokens(
  among_BL: np.ndarray, budget_B: np.ndarray, seeds_B: np.ndarray
) -> np.ndarray:
  """Chooses exactly `budget` tokens a row, all equally likely: bool[B, L]."""
  columns_L = np.arange(among_BL.shape[1])
  score_BL = hashing.uniform(seeds_B[:, None], _UNIT, columns_L)
  order_BL = np.argsort(np.where(among_BL, score_BL, 2.0), axis=1)
  chosen_BL = np.zeros_like(among_BL)
  first_BL = columns_L < budget_B[:, None]
  np.put_along_axis(chosen_BL, order_BL, first_BL, axis=1)
  return among_BL & chosen_BL


def _numbers(maskable_BL, continuation_BL, segments_BL) -> np.ndarray:
  """Numbers the words of each row, for each maskable token the word it is in.

  A '##' piece continues the word of the token before it, unless that token is
  special or of another sequence (a cut sentence may start within a word).
  """
  before_BL = np.pad(maskable_BL, ((0, 0), (1, 0)))[:, :-1]
  same_BL = np.diff(segments_BL, axis=1, prepend=0) == 0
  begins_BL = maskable_BL & ~(continuation_BL & before_BL & same_BL)
  return np.maximum(np.cumsum(begins_BL, axis=1) - 1, 0)


def _tokens(maskable_BL, word_BL, budget_B, seeds_B) -> Chosen:
  return choose_tokens(maskable_BL, budget_B, seeds_B), _own_case(word_BL)


def _words(maskable_BL, word_BL, budget_B, seeds_B) -> Chosen:
  """Chooses whole words in random order, skipping those that no longer fit.

  The pieces of a word are replaced independently, as in google-research/bert.
  """
  rows, length = word_BL.shape
  size_BW = np.zeros((rows, length), np.int64)
  np.add.at(size_BW, (np.arange(rows)[:, None], word_BL), maskable_BL)
  score_BW = hashing.uniform(seeds_B[:, None], _UNIT, np.arange(length))
  order_BW = np.argsort(np.where(size_BW > 0, score_BW, 2.0), axis=1)
  chosen_BW = np.zeros((rows, length), bool)
  left_B = budget_B.copy()
  for word_B in order_BW[:, : int(word_BL.max(initial=0)) + 1].T:
    index = (np.arange(rows), word_B)
    fits_B = (size_BW[index] > 0) & (size_BW[index] <= left_B)
    chosen_BW[index] = fits_B
    left_B -= np.where(fits_B, size_BW[index], 0)
    if not left_B.any():
      break
  chosen_BL = maskable_BL & np.take_along_axis(chosen_BW, word_BL, 1)
  return chosen_BL, _own_case(word_BL)


def _spans(maskable_BL, word_BL, budget_B, seeds_B) -> Chosen:
  """Chooses runs of whole words until the budget is met; the last may be cut.

  Lengths are geometric with p = 0.2, at most 10 words; starts are uniform over
  the words not chosen yet; a span ends at a special token. Its case is that of
  its first position.
  """
  words_B = np.where(maskable_BL.any(1), word_BL.max(1) + 1, 0)
  chosen_BL, case_BL = np.zeros_like(maskable_BL), _own_case(word_BL)
  # The run between special tokens that each token is in: no span leaves it.
  run_BL = np.cumsum(~maskable_BL, axis=1)
  target_B = np.minimum(budget_B, maskable_BL.sum(1))
  for turn in range(4 * maskable_BL.shape[1]):
    left_B = target_B - chosen_BL.sum(1)
    if not left_B.any():
      break
    start_B = hashing.integers(words_B, seeds_B, _START, turn)
    draw_B = hashing.uniform(seeds_B, _LENGTH, turn)
    # Inverse of the geometric distribution function, 1 - (1 - p)^n.
    length_B = 1 + np.floor(np.log1p(-draw_B) / np.log1p(-SPAN_STOP))
    end_B = start_B + np.minimum(length_B, SPAN_LONGEST)
    at_start_BL = maskable_BL & (word_BL == start_B[:, None])
    column_B = np.argmax(at_start_BL, axis=1)
    rows = np.arange(len(column_B))
    free_B = at_start_BL.any(1) & ~chosen_BL[rows, column_B]
    span_BL = (
      maskable_BL
      & ~chosen_BL
      & (word_BL >= start_B[:, None])
      & (word_BL < end_B[:, None])
      & (run_BL == run_BL[rows, column_B][:, None])
      & free_B[:, None]
    )
    span_BL &= np.cumsum(span_BL, axis=1) <= left_B[:, None]
    chosen_BL |= span_BL
    case_BL = np.where(span_BL, column_B[:, None], case_BL)
  return chosen_BL, case_BL


def _own_case(word_BL) -> np.ndarray:
  """Returns a case for each position: each is replaced independently."""
  return np.broadcast_to(np.arange(word_BL.shape[1]), word_BL.shape)


# name of a unit -> (maskable_BL, word_BL, budget_B, seeds_B) -> Chosen
UNITS = {'token': _tokens, 'word': _words, 'span': _spans}
Unit = Annotated[str, values.KeyOf(UNITS)]
