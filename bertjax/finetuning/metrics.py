"""Scores of predictions, and those of the best answer that ignores its input.

    METRICS['matthews'](labels, predictions)
    metrics.constant('classes', labels)       # predictions of the baseline

Source: scikit-learn and scipy; which task has which, Wang et al. 2019 (GLUE).
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats
from sklearn import metrics

# Class ids: int[n]; numbers: float[n]; several labels: bool[n, C].
METRICS = {
    'accuracy': metrics.accuracy_score,
    # Of class 1, 'equivalent' or 'duplicate', as GLUE has it.
    'f1': lambda labels, found: metrics.f1_score(
        labels, found, pos_label=1, average='binary', zero_division=0),
    'f1_macro': lambda labels, found: metrics.f1_score(
        labels, found, average='macro', zero_division=0),
    'f1_micro': lambda labels, found: metrics.f1_score(
        labels, found, average='micro', zero_division=0),
    'matthews': metrics.matthews_corrcoef,
    'pearson': lambda labels, found: _correlation(
        stats.pearsonr, labels, found),
    'spearman': lambda labels, found: _correlation(
        stats.spearmanr, labels, found),
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


def _correlation(function, labels, found) -> float:
  """Deviation: 0, not nan, where one side is constant, or there is one pair."""
  if len(labels) < 2:
    return 0.0
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', stats.ConstantInputWarning)
    warnings.simplefilter('ignore', stats.NearConstantInputWarning)
    return float(np.nan_to_num(function(labels, found).statistic))
