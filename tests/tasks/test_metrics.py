"""Worked by hand."""

import numpy as np
import pytest

from bertjax.tasks import metrics


def test_scores_of_classes():
  labels, found = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
  values = metrics.score(('accuracy', 'f1', 'matthews'), labels, found)
  # 2 true positives, 1 false, 1 missed, 1 true negative
  assert values == pytest.approx(
    {'accuracy': 3 / 5, 'f1': 4 / 6, 'matthews': (2 - 1) / 6}
  )


def test_scores_of_numbers():
  labels, found = np.array([1.0, 2, 3]), np.array([10.0, 30, 20])
  values = metrics.score(('pearson', 'spearman'), labels, found)
  assert values == pytest.approx({'pearson': 0.5, 'spearman': 0.5})
  for constant in (np.ones(3), np.zeros(3)):
    assert metrics.score(('pearson', 'spearman'), labels, constant) == {
      'pearson': 0.0,
      'spearman': 0.0,
    }


def test_one_of_several_labels_is_not_right_where_it_is_absent():
  labels = np.array([[True], [False], [False], [False]])
  nothing = np.zeros_like(labels)
  assert metrics.score(('f1_micro',), labels, nothing) == {'f1_micro': 0.0}
  assert metrics.score(('f1_micro',), labels, labels) == {'f1_micro': 1.0}
