"""The official metrics of SQuAD 1.1 and 2.0, from their definition.

    >>> exact_match('the U.S.', ['US', 'America'])
    1.0
    >>> round(f1('U.S. army', ['US', 'America']), 3)
    0.667

Source: Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822);
the metric is that of the 2.0 evaluation script. Deviation: it is used for 1.1
too, whose own script accepts '' as an exact match if a reference is punctuation
only; 3 questions of the development set have such a reference, beside others.
For `squad.first_words` with 2 words, dev-v1.1.json gives an exact match of
1.2109% and an F1 of 4.6610%.
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
  """Returns the text in the form that is compared.

  >>> normalize('The  U.S., an “ally”')
  'us “ally”'
  """
  text = text.lower().translate(PUNCTUATION)
  return ' '.join(ARTICLES.sub(' ', text).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
  """Returns 1.0 if a prediction, normalized, is one of the answers, else 0.0.

  Args:
    prediction: '' for 'there is no answer'.
    answers: reference texts; empty if there is no answer.
  """
  return float(normalize(prediction) in _references(answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
  """Returns the best F1 of the normalized words; see `exact_match`."""
  words = normalize(prediction).split()
  return max(_overlap(words, x.split()) for x in _references(answers))


def score(
  examples: Iterable[QuestionExample], predictions: Mapping[str, str]
) -> dict[str, float]:
  """Returns the mean metrics in percent.

  Args:
    examples: at least one.
    predictions: identifier -> text; a missing one counts as ''.

  Returns:
    exact_match and f1; if some examples have no answer, also separately for
    the two kinds: has_answer_exact_match, no_answer_f1, and so on.
  """
  groups: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
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
  """Returns the threshold on `null_difference` with the best F1, and that F1.

  A prediction is '' if its null difference is above the threshold. Deviation:
  the F1 returned is reached with the threshold returned. So examples of equal
  difference are answered together, and if it is best to answer none, the
  threshold is below all differences, not 0.

  Args:
    examples: at least one.
    answers: identifier -> (text, null difference); a missing one counts as ''.

  Returns:
    the threshold, and F1 in percent.
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
  """Returns the normalized answers; [''] if nothing remains of any."""
  return [x for x in map(normalize, answers) if x] or ['']


def _overlap(words: list[str], reference: list[str]) -> float:
  if not words or not reference:
    return float(words == reference)
  common = collections.Counter(words) & collections.Counter(reference)
  return 2 * common.total() / (len(words) + len(reference))
