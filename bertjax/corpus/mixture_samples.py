"""What each corpus of a mixture gives to a run.

both = Mixture([novels, wikipedia], rates=[3, 1])
fillings = [row_samples.filling(x, rows) for x in both.corpora]
mixture_samples.shares_of(both, rows, fillings)[0]['sources'][1]
# {'asked': 0.25, 'came_out': 0.2511, 'token_share': 0.24, 'epochs': 1.7}
"""

import bisect
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertjax.corpus import pipeline
from bertjax.corpus.mixtures import Mixture
from bertjax.corpus.row_samples import Rows

_STEPS = 1000  # that are looked at, or all if there are fewer
_MOST_STEPS = 10**15


def shares_of(
  mixture: Mixture,
  rows: Rows,
  fillings: Sequence[Sequence[dict[str, Any]]],
) -> list[dict[str, Any]]:
  """Returns what each corpus gives, of rows that are not packed and packed.

  Args:
    mixture: the corpora.
    rows: how they are read.
    fillings: of each corpus what `row_samples.filling` returned.

  Returns:
    two objects: `packed`; `steps` and `tokens` of the budget; `sampled_steps`;
    `sources`, of each corpus the share of rows that is `asked` for over all
    steps, the one that `came_out` in the sampled ones, its `token_share`, and
    how many `epochs` of it are read.
  """
  return [_shares(mixture, rows, x) for x in zip(*fillings, strict=True)]


def _shares(
  mixture: Mixture, rows: Rows, fillings: Sequence[dict[str, Any]]
) -> dict[str, Any]:
  filled = rows.length * (1 - np.array([x['padding_share'] for x in fillings]))

  def tokens_of(steps: int) -> float:
    return steps * rows.batch_size * float(mixture.shares(steps) @ filled)

  steps = rows.steps
  if (budget := rows.token_budget) is not None:
    several = range(1, _MOST_STEPS)
    steps = several[bisect.bisect_left(several, budget, key=tokens_of)]
  asked = mixture.shares(steps)
  sampled = np.unique(np.linspace(0, steps - 1, _STEPS).astype(np.int64))
  came_out = _drawn(mixture, rows, sampled.tolist())
  return {
    'packed': fillings[0]['packed'],
    'steps': steps,
    'tokens': round(tokens_of(steps)),
    'sampled_steps': len(sampled),
    'sources': [
      {
        'asked': float(asked[i]),
        'came_out': float(came_out[i]),
        'token_share': float(asked[i] * filled[i] / (asked @ filled)),
        'epochs': float(
          asked[i] * steps * rows.batch_size / filling['rows_an_epoch']
        ),
      }
      for i, filling in enumerate(fillings)
    ],
  }


def _drawn(mixture: Mixture, rows: Rows, steps: Sequence[int]) -> np.ndarray:
  """Returns float64[corpora], their shares of the rows of some steps."""
  streams = pipeline.streams_of(mixture, 'train', rows.batch_size)
  count = rows.batch_size // streams
  found = np.zeros(len(mixture.corpora), np.int64)
  for step in steps:
    numbers = np.arange(step * count, (step + 1) * count)
    for stream in range(streams):
      choice = mixture.choose(numbers, step, rows.seed, stream)
      found += np.bincount(choice, minlength=len(found))
  return found / found.sum()
