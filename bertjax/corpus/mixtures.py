"""Several corpora, mixed at rates that may change in the course of training.

    both = Mixture([novels, wikipedia], rates=[3, 1])
    both = Mixture([english, welsh], temperature=[(0, 0.7), (10_000, 0.3)])
    pipeline.batches(both, ...)

A row is from a corpus that is drawn by a hash of (seed, stream, row), so that
the mixture, too, is a pure function of numbers.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertjax import values
from bertjax.corpus.preparation import Prepared
from bertjax.errors import UserError, expect
from bertjax.text import hashing
from bertjax.text.vocabulary import Vocabulary
from bertjax.values import Natural, NotNegative, check_fields

Rates = Sequence[NotNegative]
_MIX = 3  # coordinate of the hash, beside those of `windows`


@dataclasses.dataclass(frozen=True)
class Mixture:
  """Corpora of one vocabulary, and what share of the rows each gives.

  Attributes:
    corpora: one or more.
    rates: of each, in proportion; or pairs of the first step at which they hold
      and the rates from there on. None: by size and `temperature`.
    temperature: without rates, a corpus of n tokens has rate n ** temperature:
      1 in proportion, 0 all alike; or pairs of a first step and a temperature.
  """

  corpora: Sequence[Prepared]
  rates: Rates | Sequence[Sequence[Natural | Rates]] | None = None
  temperature: NotNegative | Sequence[Sequence[NotNegative]] = 1.0

  def __post_init__(self) -> None:
    """Raises UserError: vocabularies differ, or rates that fit no corpora.

    Or rates and a temperature, of which only one could hold.
    """
    check_fields(self)
    expect(self.corpora, 'one corpus or more', self.corpora, 'CORPUS_DIR')
    first, *others = self.corpora
    for other in others:
      if other.vocabulary != first.vocabulary:
        raise UserError(
          f'expected corpora of one vocabulary, but {first.path} and '
          f'{other.path} have two; prepare one anew, with VOCAB_FILE set to '
          'that of the other'
        )
    both = self.rates is not None and self.temperature != 1
    fix = 'TEMPERATURE to 1.0, or RATES to None'
    expect(not both, 'rates or a temperature', self.temperature, fix)
    self._check_points()
    steps, shares = self._table()
    what = f'for each of the {len(self.corpora)} corpora a rate, one above 0'
    fits = shares.ndim == 2 and shares.shape[1] == len(self.corpora)
    fits = fits and (shares.sum(1) > 0).all() and np.isfinite(shares).all()
    expect(fits, what, self._given, self._setting)
    ordered = steps[0] == 0 and (np.diff(steps) > 0).all()
    expect(ordered, 'steps from 0 that ascend', steps.tolist(), self._setting)

  def _check_points(self) -> None:
    """Raises UserError: neither values nor pairs of a step and a value."""
    form: Any = NotNegative if self.rates is None else Rates
    if self.rates is None and not self.corpora[1:]:
      one = [x.path for x in self.corpora]
      fix = 'TEMPERATURE to 1.0, or CORPUS_DIR to several'
      expect(self._given == 1, 'several corpora for a temperature', one, fix)
    what = f'{values.describe(form)}, or pairs of a first step and such'
    valid = all(
      len(point) == 2
      and values.fits(point[0], Natural)
      and values.fits(point[1], form)
      for point in self._points()
    )
    expect(valid and self._points(), what, self._given, self._setting)

  @property
  def _setting(self) -> str:
    return 'TEMPERATURE' if self.rates is None else 'RATES'

  @property
  def _given(self) -> Any:
    return self.temperature if self.rates is None else self.rates

  def _points(self) -> Sequence[Any]:
    """Returns pairs of the first step and what holds from there on."""
    given = self._given
    several = isinstance(given, Sequence) and any(
      isinstance(x, Sequence) for x in given
    )
    return given if several else [(0, given)]

  @property
  def vocabulary(self) -> Vocabulary:
    """That of all corpora."""
    return self.corpora[0].vocabulary

  def _table(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns int64[n] first steps, and float64[n, corpora] rates."""
    sizes = np.array(
      [max(1, x.splits['train']['tokens']) for x in self.corpora], float
    )
    points = self._points()
    steps = np.array([step for step, _ in points], np.int64)
    if self.rates is None:
      with np.errstate(over='ignore'):
        rates = [sizes ** float(value) for _, value in points]
    else:
      rates = [np.array(value, float) for _, value in points]
    same = len({len(each) for each in rates}) == 1
    return steps, np.array(rates) if same else np.zeros(0)

  def shares(self, steps: int) -> np.ndarray:
    """Returns float64[corpora], each one's share of the rows of these steps."""
    firsts, rates = self._table()
    counts = np.diff(np.append(firsts, steps).clip(max=steps))
    return counts / steps @ (rates / rates.sum(1, keepdims=True))

  def choose(
    self, rows: np.ndarray, step: int, seed: int, stream: int
  ) -> np.ndarray:
    """Returns int64[n], the corpus of each row of a stream.

    Args:
      rows: int64[n], their numbers.
      step: of training, from 0.
      seed: of the batches.
      stream: its number.
    """
    if len(self.corpora) == 1:
      return np.zeros(len(rows), np.int64)
    steps, rates = self._table()
    own = rates[int(np.searchsorted(steps, step, 'right')) - 1]
    bounds = np.cumsum(own) / own.sum()
    draw = hashing.uniform(seed, _MIX, stream, rows)
    return np.searchsorted(bounds[:-1], draw, 'right')
