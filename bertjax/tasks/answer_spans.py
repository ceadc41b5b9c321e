"""Questions whose answer is a part of their context.

    rows = encode(task, tokenizer, [QuestionExample('q1', 'Who?', context)])
    for example, answers in decode(task, tokenizer, apply(rows)):
      answers.text, answers.null_difference

`kinds` puts these functions together; `text.context_windows` has the windows
and the search for the best span.
"""

import json
import math
import os
import statistics
from collections.abc import Callable, Iterable, Iterator

from bertjax.runs.output_files import write_text
from bertjax.tasks import squad_metrics
from bertjax.tasks.examples import (
  Answered,
  Part,
  QuestionExample,
  Results,
  join,
)
from bertjax.tasks.specs import Task
from bertjax.text import context_windows
from bertjax.text.batching import Row
from bertjax.text.context_windows import Answers
from bertjax.text.tokenizer import Tokenizer

N_BEST = '_n_best.json'


def encode(
  task: Task, tokenizer: Tokenizer, examples: Iterable[QuestionExample]
) -> Iterator[Row]:
  """Yields the windows of each context."""
  for example in examples:
    windows = context_windows.make(
      tokenizer, example.question, example.context, task.length, task.stride
    )
    for window in windows:
      last = window is windows[-1]
      yield window.row._replace(source=Part(example, window, last))


def first_and_last(task: Task, row: Row) -> tuple[int, int]:
  """Returns the first and the last token of the first answer.

  (0, 0), which is [CLS], if the window does not hold the whole answer.
  """
  example, window, *_ = row.source
  if not example.answers:
    return 0, 0
  text, start = example.answers[0]
  return context_windows.token_span(window, start, start + len(text))


def decode(task: Task, tokenizer: Tokenizer, found: Results) -> Answered:
  """Yields the best `Answers`, from logits [L, 2] a row."""
  for example, windows, results in join(found):
    best = context_windows.best_answers(example.context, windows, results)
    yield example, best


def score(task: Task, pairs: Answered) -> dict[str, float]:
  """Returns exact match and F1, from 0 to 1; see `squad_metrics.score`.

  If some questions have no answer, the prediction is '' where the
  null_difference exceeds `threshold`, the best one for these examples.

  Args:
    task: of spans.
    pairs: examples with their `Answers`, or all with a text.
  """
  examples, found = zip(*pairs, strict=True)
  identifiers = [example.identifier for example in examples]
  texts, chosen = found, {}
  if not isinstance(found[0], str):
    if not all(example.answers for example in examples):
      nulls = [(answers.text, answers.null_difference) for answers in found]
      chosen['threshold'], _ = squad_metrics.best_threshold(
        examples, dict(zip(identifiers, nulls, strict=True))
      )
    texts = tuple(_text(answers, **chosen) for answers in found)
  predictions = dict(zip(identifiers, texts, strict=True))
  values = squad_metrics.score(examples, predictions)
  return {name: value / 100 for name, value in values.items()} | chosen


def first_words(
  task: Task, train: Iterable[QuestionExample]
) -> Callable[[QuestionExample], str]:
  """Returns a function that gives the first words of a context.

  As many as the median answer has in training.
  """
  lengths = [
    len(answer.text.split()) for x in train for answer in x.answers[:1]
  ]
  words = int(statistics.median(lengths)) if lengths else 1
  return lambda example: ' '.join(example.context.split()[:words])


def write(task: Task, path: str, pairs: Answered, count: int) -> str:
  """Writes predictions in SQuAD's JSON, and the n best answers beside them.

  The official JSON is {identifier: text}. The n best are {identifier: [{text,
  start, score, probability}, ...]}. A text is empty above the `threshold` that
  the evaluation in training found.
  """
  texts, candidates = {}, {}
  for example, answers in pairs:
    texts[example.identifier] = _text(answers, task.threshold)
    candidates[example.identifier] = [x._asdict() for x in answers.candidates]
  n_best = os.path.splitext(path)[0] + N_BEST
  write_text(n_best, json.dumps(candidates, indent=1))
  write_text(path, json.dumps(texts, indent=1))
  return f'{count:,} answers in {path}, the n best in {n_best}'


def _text(answers: Answers, threshold: float = math.inf) -> str:
  return '' if answers.null_difference > threshold else answers.text
