"""Questions of SQuAD 1.1 and 2.0: their files, their metric, simple baselines.

    examples = squad.read('dev-v1.1.json')
    squad.score(examples, squad.first_words(examples, words=2))
    # {'exact_match': 1.2109..., 'f1': 4.6610...}

Source: Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822);
the metric is that of the 2.0 evaluation script. Deviation: for 1.1 as well; its
own script takes '' for an exact match where a reference is punctuation only, as
one is for 3 questions of the development set, beside others.
"""

import collections
import json
import math
import re
import statistics
import string
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bertjax.errors import UserError
from bertjax.finetuning.examples import Answer, QuestionExample
from bertjax.inference import text_files, windows

PUNCTUATION = str.maketrans('', '', string.punctuation)  # ASCII, as officially
ARTICLES = re.compile(r'\b(a|an|the)\b')


def read(path: str, labelled: bool = True) -> list[QuestionExample]:
  """Returns the questions of a file in the official JSON, of 1.1 or 2.0.

  Args:
    path: of the file.
    labelled: whether `answers` are expected.

  Raises:
    UserError: no file, not JSON, another structure, an id twice.
  """
  try:
    with open(path, encoding='utf-8-sig') as file:
      content = json.load(file)
  except (OSError, ValueError) as error:
    raise UserError(
        f'expected a SQuAD file, such as dev-v1.1.json, in {path}, got '
        f'{getattr(error, "strerror", error)}; give another path') from error
  examples = list(_questions(content, path, labelled))
  identifiers = collections.Counter(x.identifier for x in examples)
  if not examples:
    raise UserError(f'expected questions in {path}, got none; give another')
  if len(identifiers) < len(examples):
    raise UserError(
        f'expected each id once in {path}, got {identifiers.most_common(1)}; '
        'give each question an id of its own')
  return examples


def check(
    examples: Iterable[QuestionExample]
) -> tuple[list[QuestionExample], int]:
  """Puts answers where they stand in the context, for training.

  Answer(' Ada', 4) in 'By Ada.' becomes Answer('Ada', 3): of the places where
  the text occurs, the nearest. An answer that occurs nowhere is dropped, and so
  is a question that loses all of its answers.

  Returns:
    the examples, and how many answers did not stand where their file says.
  """
  kept, count = [], 0
  for example in examples:
    told = [_strip(answer) for answer in example.answers]
    found = [_nearest(example.context, answer) for answer in told]
    count += sum(a != b for a, b in zip(told, found, strict=True))
    if any(found) or not told:
      kept.append(example._replace(answers=tuple(filter(None, found))))
  return kept, count


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
          ('exact_match', 'f1'), zip(*pairs, strict=True), strict=True)
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


def write_predictions(path: str, predictions: Mapping[str, str]) -> None:
  """Writes the official JSON, {identifier: text}.

  Raises:
    UserError: see `text_files.writing`.
  """
  with text_files.writing(path) as part, open(part, 'w') as file:
    json.dump(dict(predictions), file, indent=1)


def write_n_best(path: str, answers: Mapping[str, windows.Answers]) -> None:
  """Writes {identifier: [{text, start, score, probability}, ...]}, best first.

  Raises:
    UserError: see `text_files.writing`.
  """
  write_predictions(path, {
      identifier: [candidate._asdict() for candidate in found.candidates]
      for identifier, found in answers.items()})


def first_words(
    examples: Iterable[QuestionExample], words: int
) -> dict[str, str]:
  """Returns the first words of each context: what any model must be above.

  Args:
    examples: to predict on.
    words: of an answer: the median of the training set.
  """
  return {
      example.identifier: ' '.join(example.context.split()[:words])
      for example in examples}


def split_by_article(
    examples: Sequence[QuestionExample], parts: int = 10, part: int = 0
) -> tuple[list[QuestionExample], list[QuestionExample]]:
  """Returns examples for training and evaluation, no article in both.

  Args:
    examples: of at least `parts` articles.
    parts: 10 gives about a tenth of the articles to evaluation.
    part: the one for evaluation, from 0; each article is in one.

  Raises:
    UserError: fewer articles than parts, fewer than 2 parts, no such part.
  """
  titles = sorted({example.title for example in examples})
  if not 0 <= part < parts or not 2 <= parts <= len(titles):
    raise UserError(
        f'expected 2 to {len(titles)} parts, as there are articles, and a part '
        f'from 0, got part {part} of {parts}; set part, parts')
  chosen = set(titles[part::parts])
  sides = [], []
  for example in examples:
    sides[example.title in chosen].append(example)
  return sides


def _questions(
    content, path: str, labelled: bool
) -> Iterable[QuestionExample]:
  for i, article in enumerate(_get(content, 'data', list, 'the root', path)):
    title = str(article.get('title', i)) if isinstance(article, dict) else ''
    paragraphs = _get(article, 'paragraphs', list, f'data[{i}]', path)
    for j, paragraph in enumerate(paragraphs):
      where = f'data[{i}].paragraphs[{j}]'
      context = _get(paragraph, 'context', str, where, path)
      for k, item in enumerate(_get(paragraph, 'qas', list, where, path)):
        place = f'{where}.qas[{k}]'
        identifier = _get(item, 'id', str, place, path)
        question = _get(item, 'question', str, place, path)
        answers = [] if item.get('is_impossible') or not labelled else _get(
            item, 'answers', list, place, path)
        yield QuestionExample(identifier, question, context, tuple(
            Answer(_get(x, 'text', str, f'{place}.answers[{n}]', path),
                   _get(x, 'answer_start', int, f'{place}.answers[{n}]', path))
            for n, x in enumerate(answers)), title)


def _get(record, key: str, kind: type, where: str, path: str):
  value = record.get(key) if isinstance(record, dict) else record
  if isinstance(record, dict) and isinstance(value, kind):
    return value
  missing = isinstance(record, dict) and key not in record
  got = f'the keys {", ".join(record)}' if missing else f'{value!r:.40}'
  raise UserError(f'expected "{key}", a {kind.__name__}, in {where} of {path}, '
                  f'got {got}; give a file in the official JSON of SQuAD')


def _strip(answer: Answer) -> Answer:
  """Returns the answer without outer spaces, which no token covers."""
  text = answer.text.lstrip()
  return Answer(text.rstrip(), answer.start + len(answer.text) - len(text))


def _nearest(context: str, answer: Answer) -> Answer | None:
  """Returns the answer where its text occurs nearest to its start, or None."""
  text, start = answer.text, max(answer.start, 0)
  places = context.rfind(text, 0, start + len(text)), context.find(text, start)
  found = [place for place in places if place >= 0]
  if not text or not found:
    return None
  return Answer(text, min(found, key=lambda place: abs(place - start)))


def _references(answers: Sequence[str]) -> list[str]:
  """Returns the normalized answers; [''] where nothing remains of any."""
  return [x for x in map(normalize, answers) if x] or ['']


def _overlap(words: list[str], reference: list[str]) -> float:
  if not words or not reference:
    return float(words == reference)
  common = collections.Counter(words) & collections.Counter(reference)
  return 2 * common.total() / (len(words) + len(reference))
