"""Metrics of classes, labels and numbers, by name.

    >>> score(['accuracy'], np.array([1, 0]), np.array([1, 1]))
    {'accuracy': 0.5}

Source: scikit-learn and scipy; the choice for each task, Wang et al. 2019
(GLUE).
"""

import functools
import warnings
from collections.abc import Callable, Sequence

import numpy as np


def _sklearn(name: str, **settings: object) -> Callable[..., float]:
  def metric(labels: np.ndarray, found: np.ndarray) -> float:
    from sklearn import metrics  # takes a second, which prediction saves

    return getattr(metrics, name)(labels, found, **settings)

  return metric


def _correlation(name: str) -> Callable[..., float]:
  """Deviation: 0, not nan, if a side is constant or there is only one pair."""

  def metric(labels: np.ndarray, found: np.ndarray) -> float:
    from scipy import stats

    if len(labels) < 2:
      return 0.0
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', stats.DegenerateDataWarning)
      return np.nan_to_num(getattr(stats, name)(labels, found).statistic)

  return metric


_f1 = functools.partial(_sklearn, 'f1_score', zero_division=0)

# Class ids: int[n]; numbers: float[n]; several labels: bool[n, C].
METRICS: dict[str, Callable[..., float]] = {
  'accuracy': _sklearn('accuracy_score'),
  # Of class 1, as in GLUE: 'equivalent' or 'duplicate'.
  'f1': _f1(pos_label=1, average='binary'),
  'f1_macro': _f1(average='macro'),
  'f1_micro': _f1(average='micro'),
  'matthews': _sklearn('matthews_corrcoef'),
  'pearson': _correlation('pearsonr'),
  'spearman': _correlation('spearmanr'),
}


def score(
  names: Sequence[str], labels: np.ndarray, found: np.ndarray
) -> dict[str, float]:
  """Returns name -> value of metrics in `METRICS`."""
  if labels.ndim == 2 and labels.shape[1] == 1:
    # scikit-learn would take a single label for two classes, and score both.
    labels, found = (np.pad(x, ((0, 0), (0, 1))) for x in (labels, found))
  return {name: float(METRICS[name](labels, found)) for name in names}
