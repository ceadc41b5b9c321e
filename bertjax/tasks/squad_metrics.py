"""The official metrics of SQuAD 1.1 and 2.0, from their definition.

    squad_metrics.score(examples, squad.first_words(examples, words=2))
    # on dev-v1.1.json {'exact_match': 1.2109..., 'f1': 4.6610...}

Source: Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822);
the metric is that of the 2.0 evaluation script. Deviation: for 1.1 as well; its
own script takes '' for an exact match where a reference is punctuation only, as
one is for 3 questions of the development set, beside others.
"""

import collections
import math
import re
import statistics
import string
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bertjax.tasks.examples import QuestionExample

PUNCTUATION = str.maketrans('', '', string.punctuation)  # ASCII, as officially
ARTICLES = re.compile(r'\b(a|an|the)\b')


def normalize(text: str) -> str:
  """Returns what is compared: 'The  U.S., an “ally”' to 'us “ally”'."""
  text = text.lower().translate(PUNCTUATION)
  return ' '.join(ARTICLES.sub(' ', text).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
  """Returns 1.0 where a prediction is one of the answers, normalized, else 0.0.

  Args:
    prediction: '' for 'there is no answer'.
    answers: reference texts; none where there is no answer.
  """
  return float(normalize(prediction) in _references(answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
  """Returns the best F1 of the words, normalized; see `exact_match`."""
  words = normalize(prediction).split()
  return max(_overlap(words, x.split()) for x in _references(answers))


def score(
  examples: Iterable[QuestionExample], predictions: Mapping[str, str]
) -> dict[str, float]:
  """Returns the mean metrics in percent.

  Args:
    examples: at least one.
    predictions: identifier -> text; one that is missing counts as ''.

  Returns:
    exact_match and f1 and, if some examples have no answer, the same of the
    two kinds apart: has_answer_exact_match, no_answer_f1, and so on.
  """
  groups = collections.defaultdict(list)
  for example in examples:
    texts = [answer.text for answer in example.answers]
    prediction = predictions.get(example.identifier, '')
    found = exact_match(prediction, texts), f1(prediction, texts)
    groups[''].append(found)
    groups['has_answer_' if texts else 'no_answer_'].append(found)
  if 'no_answer_' not in groups:
    del groups['has_answer_']
  return {
    f'{group}{name}': 100 * statistics.fmean(values)
    for group, pairs in groups.items()
    for name, values in zip(
      ('exact_match', 'f1'), zip(*pairs, strict=True), strict=True
    )
  }


def best_threshold(
  examples: Iterable[QuestionExample],
  answers: Mapping[str, tuple[str, float]],
) -> tuple[float, float]:
  """Returns the threshold on `null_difference` of the best F1, and that F1.

  A prediction is '' where its null difference is above the threshold.
  Deviation: examples of equal difference are answered together, and where no
  answer is best, the threshold is below all, not 0: nothing else reaches the F1
  that is returned.

  Args:
    examples: at least one.
    answers: identifier -> (text, null difference); see `score` for missing.
  """
  differences, gains, unanswered = [], [], 0.0
  for example in examples:
    text, difference = answers.get(example.identifier, ('', math.inf))
    texts = [answer.text for answer in example.answers]
    null = f1('', texts)
    unanswered += null
    differences.append(difference)
    gains.append(f1(text, texts) - null)
  order = np.argsort(differences, kind='stable')
  values = np.array(differences)[order]
  totals = np.cumsum(np.append(unanswered, np.array(gains)[order]))
  thresholds = np.concatenate([[values[0] - 1], values])
  possible = np.flatnonzero(np.append(values != thresholds[:-1], True))
  best = possible[np.argmax(totals[possible])]
  return float(thresholds[best]), float(100 * totals[best] / len(values))


def _references(answers: Sequence[str]) -> list[str]:
  """Returns the normalized answers; [''] where nothing remains of any."""
  return [x for x in map(normalize, answers) if x] or ['']


def _overlap(words: list[str], reference: list[str]) -> float:
  if not words or not reference:
    return float(words == reference)
  common = collections.Counter(words) & collections.Counter(reference)
  return 2 * common.total() / (len(words) + len(reference))
