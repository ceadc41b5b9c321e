"""Worked by hand, and by trying every threshold."""

import math

import numpy as np
import pytest

from bertjax.tasks import squad_metrics
from bertjax.tasks.examples import Answer, QuestionExample


def question(identifier, *answers, title=''):
  return QuestionExample(
    identifier, '?', '', tuple(Answer(x, 0) for x in answers), title
  )


@pytest.mark.parametrize(
  'text, expected',
  [
    ('The  U.S., an\tally', 'us ally'),
    ('A man, a plan', 'man plan'),
    ('the-atre', 'theatre'),  # punctuation goes before articles do
    ('“ally”', '“ally”'),
    ('24–10', '24–10'),
    ('a–b', '–b'),  # an article ends at any character that is no letter
    ('Théâtre the', 'théâtre'),
    ('another then', 'another then'),
    ('The', ''),
  ],
)
def test_texts_are_normalized_as_officially(text, expected):
  assert squad_metrics.normalize(text) == expected


@pytest.mark.parametrize(
  'prediction, answers, exact, overlap',
  [
    ('the Broncos!', ['broncos'], 1, 1),
    ('Denver Broncos', ['Broncos', 'Denver'], 0, 2 / 3),
    ('Denver', ['the Denver Broncos of 2015', 'Denver Broncos'], 0, 2 / 3),
    ('x x y', ['x x x z'], 0, 4 / 7),  # x counts twice
    ('x y', ['y x'], 0, 1),
    ('no', ['yes'], 0, 0),
    ('', ['yes'], 0, 0),
    ('', [], 1, 1),
    ('yes', [], 0, 0),
    ('The', ['a', 'yes'], 0, 0),  # 'a' is nothing when normalized
    ('The', ['a'], 1, 1),
  ],
)
def test_metrics_as_by_hand(prediction, answers, exact, overlap):
  assert squad_metrics.exact_match(prediction, answers) == exact
  assert squad_metrics.f1(prediction, answers) == pytest.approx(overlap)


def test_scores_are_means_in_percent():
  examples = [
    question('1', 'Denver Broncos'),
    question('2', 'b'),
    question('3', 'c'),
  ]
  predictions = {'1': 'Denver', '2': 'B.', 'other': 'x'}
  assert squad_metrics.score(examples, predictions) == pytest.approx(
    {'exact_match': 100 / 3, 'f1': (200 / 3 + 100) / 3}
  )
  more = [*examples, question('4')]
  assert squad_metrics.score(more, predictions) == pytest.approx(
    {
      'exact_match': 50,
      'f1': (200 / 3 + 200) / 4,
      'has_answer_exact_match': 100 / 3,
      'has_answer_f1': (200 / 3 + 100) / 3,
      'no_answer_exact_match': 100,
      'no_answer_f1': 100,
    }
  )
  assert squad_metrics.score([question('4')], {'4': 'x'}) == {
    'exact_match': 0,
    'f1': 0,
    'no_answer_exact_match': 0,
    'no_answer_f1': 0,
  }


def thresholded(examples, answers, threshold):
  return squad_metrics.score(
    examples,
    {
      identifier: '' if difference > threshold else text
      for identifier, (text, difference) in answers.items()
    },
  )['f1']


def test_the_threshold_is_the_best_of_all():
  rng = np.random.default_rng(0)
  words = ['x', 'y', 'x y', '']
  for _ in range(50):
    examples = [
      question(str(i), *rng.choice(words[:3], rng.integers(0, 3)))
      for i in range(12)
    ]
    answers = {  # one is missing; differences are equal now and then
      str(i): (str(rng.choice(words)), float(rng.integers(-4, 4)))
      for i in range(11)
    }
    threshold, found = squad_metrics.best_threshold(examples, answers)
    assert found == pytest.approx(
      max(thresholded(examples, answers, x) for x in np.arange(-6, 6))
    )
    assert found == pytest.approx(thresholded(examples, answers, threshold))


def test_a_threshold_can_leave_all_or_none_unanswered():
  answers = {'1': ('x', -3.0), '2': ('x', -2.0), '3': ('', math.inf)}
  none = [question('1'), question('2'), question('3')]
  threshold, found = squad_metrics.best_threshold(none, answers)
  assert threshold < -3 and found == 100
  every = [question('1', 'x'), question('2', 'x'), question('3', 'x')]
  threshold, found = squad_metrics.best_threshold(every, answers)
  assert threshold == -2 and found == pytest.approx(200 / 3)
