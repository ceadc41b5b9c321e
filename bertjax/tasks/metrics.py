"""Scores of predictions, and those of the best answer that ignores its input.

    METRICS['matthews'](labels, predictions)
    metrics.constant('classes', labels)       # predictions of the baseline

Source: scikit-learn and scipy; which task has which, Wang et al. 2019 (GLUE).
"""

import functools
import warnings
from collections.abc import Callable, Sequence

import numpy as np


def _sklearn(name: str, **settings) -> Callable:
  def metric(labels, found):
    from sklearn import metrics  # with scipy a second, which prediction saves

    return getattr(metrics, name)(labels, found, **settings)

  return metric


def _correlation(name: str) -> Callable:
  """Deviation: 0, not nan, where one side is constant, or there is one pair."""

  def metric(labels, found):
    from scipy import stats

    if len(labels) < 2:
      return 0.0
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', stats.ConstantInputWarning)
      warnings.simplefilter('ignore', stats.NearConstantInputWarning)
      return np.nan_to_num(getattr(stats, name)(labels, found).statistic)

  return metric


_f1 = functools.partial(_sklearn, 'f1_score', zero_division=0)

# Class ids: int[n]; numbers: float[n]; several labels: bool[n, C].
METRICS = {
  'accuracy': _sklearn('accuracy_score'),
  # Of class 1, 'equivalent' or 'duplicate', as GLUE has it.
  'f1': _f1(pos_label=1, average='binary'),
  'f1_macro': _f1(average='macro'),
  'f1_micro': _f1(average='micro'),
  'matthews': _sklearn('matthews_corrcoef'),
  'pearson': _correlation('pearsonr'),
  'spearman': _correlation('spearmanr'),
}
# Kind of labels -> the metrics that it can have.
OF_KIND = {
  'classes': ('accuracy', 'f1', 'f1_macro', 'f1_micro', 'matthews'),
  'labels': ('f1_micro', 'f1_macro', 'accuracy'),
  'number': ('pearson', 'spearman'),
}


def score(
  names: Sequence[str], labels: np.ndarray, found: np.ndarray
) -> dict[str, float]:
  """Returns name -> value of metrics in `METRICS`."""
  if labels.ndim == 2 and labels.shape[1] == 1:
    # scikit-learn takes one label for two classes, and counts its absence.
    labels, found = (np.pad(x, ((0, 0), (0, 1))) for x in (labels, found))
  return {name: float(METRICS[name](labels, found)) for name in names}


def constant(kind: str, labels: np.ndarray) -> np.ndarray:
  """Returns the best constant prediction for `labels`, in their shape.

  The most frequent class; the mean; of several labels, those that more than
  half of the examples have.
  """
  if kind == 'classes':
    return np.full_like(labels, np.bincount(labels).argmax())
  if kind == 'number':
    return np.full_like(labels, labels.mean())
  return np.broadcast_to(labels.mean(axis=0) > 0.5, labels.shape)
