"""What training will read of a corpus: its rows, sampled, and what is in them.

rows = row_samples.Rows(batch_size=32, length=128)
row_samples.filling(prepared, rows)      # padding, rows of an epoch, steps
row_samples.masking_of(prepared, rows)   # rate and shares that came out
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from bertjax import batch
from bertjax.corpus import pipeline, windows
from bertjax.corpus.mixtures import Mixture
from bertjax.corpus.preparation import Prepared
from bertjax.errors import UserError
from bertjax.text import hashing, masking
from bertjax.values import Count, Positive, Seed, Share, check_fields

ROWS = 4000  # that are looked at, or all if there are fewer
_CHOICE = 17  # coordinate of the hash that chooses windows


@dataclasses.dataclass(frozen=True)
class Rows:
  """How a run reads a corpus, and for how long; see `pipeline.batches`.

  Attributes:
    batch_size: B.
    length: L.
    next_sentence: whether rows are pairs.
    mask_rate: share of the tokens that are targets.
    mask_unit: 'token', 'word' or 'span'.
    seed: of the rows.
    steps: of the run.
    token_budget: how many tokens it reads, padding left out, in place of
      `steps`.
  """

  batch_size: Count = 32
  length: Count = 128
  next_sentence: bool = True
  mask_rate: Share = 0.15
  mask_unit: masking.Unit = 'token'
  seed: Seed = 0
  steps: Count = 10_000
  token_budget: Positive | None = None

  def __post_init__(self) -> None:
    """Raises UserError if rows are too short for what they are to hold."""
    check_fields(self)
    self.form(packed=True)

  def form(self, packed: bool) -> windows.Form:
    return windows.Form(
      length=self.length,
      predictions=batch.predictions_of(self.length, self.mask_rate),
      sequences=batch.sequences_of(self.length, packed),
      next_sentence=self.next_sentence,
      mask_rate=self.mask_rate,
      mask_unit=self.mask_unit,
    )


def _windows(
  prepared: Prepared, rows: Rows, packed: bool
) -> tuple[windows.Windows, Iterator[dict[str, np.ndarray]]]:
  """Returns the windows of the split 'train', and rows of some of them."""
  mixture = Mixture([prepared])
  streams = pipeline.streams_of(mixture, 'train', rows.batch_size)
  (found,) = pipeline.windows_of(
    mixture, 'train', rows.form(packed), rows.seed, streams, shuffle=True
  )
  count = len(found)
  order = hashing.permuted(
    np.arange(min(count, ROWS)), count, rows.seed, _CHOICE
  )

  def sampled() -> Iterator[dict[str, np.ndarray]]:
    seen = 0
    for number in order.tolist():
      if seen >= ROWS:
        break
      some = found.rows(number)
      seen += len(some['tokens'])
      yield some

  return found, sampled()


def filling(prepared: Prepared, rows: Rows) -> list[dict[str, Any]]:
  """Returns how full rows are and how far a budget goes, packed and not.

  Returns:
    two objects, of rows that are not packed and of rows that are: `packed`;
    `sampled_rows`; `padding_share`, of all places in a row; `sequences_a_row`;
    `rows_an_epoch` and `steps_an_epoch`, estimated from the sample; `steps`,
    `epochs` and `tokens` of the budget, padding left out.

  Raises:
    UserError: no row comes out.
  """
  return [_filling(prepared, rows, packed) for packed in (False, True)]


def _filling(prepared: Prepared, rows: Rows, packed: bool) -> dict[str, Any]:
  found, sample = _windows(prepared, rows, packed)
  seen = taken = filled = sequences = 0
  for some in sample:
    taken += 1
    seen += len(some['segments'])
    filled += int((some['segments'] > 0).sum())
    sequences += int(some['segments'].max(1, initial=0).sum())
  if not seen:
    raise UserError(
      f'expected text that gives sequences, got documents of a token or two in '
      f'{prepared.path}; set CORPUS_DIR'
    )
  an_epoch = seen / taken * len(found)
  a_step = filled / seen * rows.batch_size
  steps: float = rows.steps
  if rows.token_budget is not None:
    steps = np.ceil(rows.token_budget / a_step)
  return {
    'packed': packed,
    'sampled_rows': seen,
    'padding_share': 1 - filled / (seen * rows.length),
    'sequences_a_row': sequences / seen,
    'rows_an_epoch': round(an_epoch),
    'steps_an_epoch': an_epoch / rows.batch_size,
    'steps': int(steps),
    'epochs': steps * rows.batch_size / an_epoch,
    'tokens': round(steps * a_step),
  }


def masking_of(prepared: Prepared, rows: Rows) -> dict[str, Any]:
  """Returns what masking was asked for, and what came out in sampled rows.

  Returns:
    `sampled_rows`; `tokens` of them that may be masked, and `targets`;
    `rate_asked` and `rate`; shares of the targets `masked_asked`, `masked`,
    `random_asked`, `random`, `kept_asked`, `kept`; `unit`; of pairs
    `random_pairs_share`, and `cut_pairs_share`, those of one sentence, else
    None.
  """
  vocabulary = prepared.vocabulary
  _, sample = _windows(prepared, rows, packed=False)
  seen = maskable = targets = masked = kept = pairs = 0
  for some in sample:
    counted = some['weights'] > 0
    row, _ = np.nonzero(counted)
    at = some['target_positions'][counted]
    original, replaced = some['targets'][counted], some['tokens'][row, at]
    before = some['tokens'].copy()
    before[row, at] = original
    special = vocabulary.special[before]
    maskable += int(((some['segments'] > 0) & ~special).sum())
    seen += len(before)
    targets += len(original)
    masked += int((replaced == vocabulary.mask_id).sum())
    kept += int((replaced == original).sum())
    pairs += int(some['pair_labels'].sum())
  of_all = max(targets, 1)
  is_pair = rows.next_sentence
  return {
    'sampled_rows': seen,
    'tokens': maskable,
    'targets': targets,
    'unit': rows.mask_unit,
    'rate_asked': rows.mask_rate,
    'rate': targets / max(maskable, 1),
    'masked_asked': masking.MASKED,
    'masked': masked / of_all,
    'random_asked': masking.RANDOM,
    'random': (targets - masked - kept) / of_all,
    'kept_asked': round(1 - masking.MASKED - masking.RANDOM, 6),
    'kept': kept / of_all,
    'random_pairs_share': pairs / max(seen, 1) if is_pair else None,
    'cut_pairs_share': (
      windows.cut_share(prepared.split('train'), vocabulary, rows.length)
      if is_pair
      else None
    ),
  }
