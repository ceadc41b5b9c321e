import json
import math

import pytest

from bertjax.errors import UserError
from bertjax.training.selection import Best


def test_the_highest_accuracy_and_the_lowest_loss_are_the_best():
  for metric, values in (
    ('eval/accuracy', [0.2, 0.5, 0.4, 0.5]),
    ('eval/loss', [3.0, 1.0, 2.0, 1.0]),
  ):
    best = Best(metric)
    improved = [best.add(i, {metric: v}) for i, v in enumerate(values)]
    assert improved == [True, True, False, False]
    assert (best.step, best.values) == (1, {metric: values[1]})


def test_patience_counts_evaluations_since_the_best_also_after_a_resume(
  tmp_path,
):
  values = [0.1, 0.3, 0.2]
  (tmp_path / 'metrics.jsonl').write_text(
    ''.join(
      json.dumps({'step': i, 'train/loss': 1.0, 'eval/f1': v, 'eval/x': i})
      + '\n'
      for i, v in enumerate(values)
    )
  )
  best = Best('eval/f1', patience=2)
  best.resume(str(tmp_path))
  assert (best.step, best.exhausted) == (1, False)
  assert best.values == {'eval/f1': 0.3, 'eval/x': 1}
  assert not best.add(3, {'eval/f1': 0.3}) and best.exhausted


def test_steps_without_an_evaluation_do_not_count():
  best = Best('eval/f1', patience=1)
  best.add(1, {'eval/f1': 0.5})
  assert not best.add(2, {}) and not best.exhausted


def test_what_is_not_a_number_is_worse_than_any_number():
  best = Best('eval/loss', patience=2)
  values = [math.nan, math.nan, 3.0, math.nan, math.nan]
  improved = [best.add(i, {'eval/loss': v}) for i, v in enumerate(values)]
  assert improved == [True, False, True, False, False]
  assert (best.step, best.values) == (2, {'eval/loss': 3.0})
  assert best.exhausted


def test_what_cannot_be_selected_by_is_refused():
  with pytest.raises(
    UserError, match='give eval/accuracy; set loop.train.select'
  ):
    Best('eval/f1').add(1, {'eval/accuracy': 1.0})
  with pytest.raises(UserError, match='patience of 1 or more'):
    Best('eval/f1', patience=0)
