"""What training will read of a corpus: a sample of rows, and how full they are.

rows = row_samples.Rows(batch_size=32, length=128)
row_samples.filling(prepared, rows)      # padding, rows of an epoch, steps

What is masked in them: see `masking_samples`.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from bertjax import batch
from bertjax.batch import MaskRates, Rates
from bertjax.corpus import pipeline, windows
from bertjax.corpus.mixtures import Mixture
from bertjax.corpus.preparation import Prepared
from bertjax.errors import UserError
from bertjax.text import hashing, masking, noises
from bertjax.values import Count, Positive, Seed, check_fields

ROWS = 4000  # that are looked at, or all if there are fewer
_CHOICE = 17  # coordinate of the hash that chooses windows


@dataclasses.dataclass(frozen=True)
class Rows:
  """How a run reads a corpus, and for how long; see `pipeline.batches`.

  Attributes:
    batch_size: B.
    length: L.
    next_sentence: whether rows are pairs.
    mask_rate: see `windows.Form`, as for the next four.
    mask_unit: 'token', 'word' or 'span'.
    pair_kind: 'nsp', 'sop' or 'same_document'.
    noise: a key of `noises.NOISES`; None: none.
    noise_rate: None: the usual one.
    seed: of the rows.
    steps: of the run.
    token_budget: how many tokens it reads, padding left out, in place of
      `steps`.
  """

  batch_size: Count = 32
  length: Count = 128
  next_sentence: bool = True
  mask_rate: MaskRates = 0.15
  mask_unit: masking.Unit = 'token'
  pair_kind: str = 'nsp'
  noise: str | None = None
  noise_rate: Rates | None = None
  seed: Seed = 0
  steps: Count = 10_000
  token_budget: Positive | None = None

  def __post_init__(self) -> None:
    """Raises UserError if rows are too short for what they are to hold."""
    check_fields(self)
    self.form(packed=True)

  def form(self, packed: bool) -> windows.Form:
    """Returns the form of the rows."""
    more = noises.most_targets(self.length, self.noise, self.noise_rate)
    return windows.Form(
      length=self.length,
      predictions=batch.predictions_of(self.length, self.mask_rate, more),
      sequences=batch.sequences_of(self.length, packed),
      next_sentence=self.next_sentence,
      mask_rate=self.mask_rate,
      mask_unit=self.mask_unit,
      pair_kind=self.pair_kind,
      noise=self.noise,
      noise_rate=self.noise_rate,
    )


def sampled(
  prepared: Prepared, rows: Rows, packed: bool = False
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

  def some_rows() -> Iterator[dict[str, np.ndarray]]:
    seen = 0
    for number in order.tolist():
      if seen >= ROWS:
        break
      some = found.rows(number)
      seen += len(some['tokens'])
      yield some

  return found, some_rows()


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
  found, sample = sampled(prepared, rows, packed)
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
