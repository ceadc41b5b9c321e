"""Questions whose answer is a part of their context.

    rows = encode(task, tokenizer, [QuestionExample('q1', 'Who?', context)])
    for example, answers in decode(task, tokenizer, apply(rows)):
      answers.text, answers.null_difference

`kinds` puts these functions together; `text.context_windows` has the windows
and the search for the best span.
"""

import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from bertjax.tasks import squad, squad_metrics
from bertjax.tasks.examples import Part, QuestionExample, join
from bertjax.tasks.specs import Task
from bertjax.text import context_windows
from bertjax.text.batching import Row
from bertjax.text.context_windows import Answers
from bertjax.text.line_files import one_file
from bertjax.text.tokenizer import Tokenizer


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
  del task
  example, window, *_ = row.source
  if not example.answers:
    return 0, 0
  text, start = example.answers[0]
  return context_windows.token_span(window, start, start + len(text))


def decode(
  task: Task, tokenizer: Tokenizer, found: Iterable[tuple[Row, np.ndarray]]
) -> Iterator[tuple[QuestionExample, Answers]]:
  """Yields the best answers, from logits [L, 2] a row."""
  del task, tokenizer
  for example, windows, results in join(found):
    yield (
      example,
      context_windows.best_answers(example.context, windows, results),
    )


def score(
  task: Task, pairs: Iterable[tuple[QuestionExample, Answers | str]]
) -> dict[str, float]:
  """Returns exact match and F1, from 0 to 1; see `squad_metrics.score`.

  If some questions have no answer, the prediction is '' where the
  null_difference exceeds `threshold`, the best one for these examples.
  """
  del task
  pairs = list(pairs)
  examples = [example for example, _ in pairs]
  texts = {
    example.identifier: answer if isinstance(answer, str) else answer.text
    for example, answer in pairs
  }
  nulls = {
    example.identifier: (answer.text, answer.null_difference)
    for example, answer in pairs
    if not isinstance(answer, str)
  }
  threshold = None
  if len(nulls) == len(texts) and any(not x.answers for x in examples):
    threshold, _ = squad_metrics.best_threshold(examples, nulls)
    texts = {
      key: '' if difference > threshold else text
      for key, (text, difference) in nulls.items()
    }
  values = {k: v / 100 for k, v in squad_metrics.score(examples, texts).items()}
  return values | ({} if threshold is None else {'threshold': threshold})


def first_words(
  task: Task, train: Iterable[QuestionExample]
) -> Callable[[QuestionExample], str]:
  """Returns a function that gives the first words of a context.

  As many as the median answer has in training.
  """
  del task
  lengths = [
    len(answer.text.split()) for x in train for answer in x.answers[:1]
  ]
  words = int(statistics.median(lengths)) if lengths else 1
  return lambda example: ' '.join(example.context.split()[:words])


def read(
  task: Task, source: str | Sequence[str], labelled: bool
) -> list[QuestionExample]:
  """Returns the questions of a file in SQuAD's JSON."""
  del task
  return squad.read(
    one_file(source, 'EVAL_FILES' if labelled else 'INPUT'), labelled
  )


def write(
  task: Task,
  path: str,
  pairs: Iterable[tuple[QuestionExample, Answers]],
  count: int,
) -> str:
  """Writes predictions in SQuAD's JSON, and the n best answers beside them.

  An answer is empty above the `threshold` that the evaluation in training
  found.
  """
  found = {example.identifier: answers for example, answers in pairs}
  squad.write_predictions(
    path,
    {
      key: '' if x.null_difference > task.threshold else x.text
      for key, x in found.items()
    },
  )
  n_best = os.path.splitext(path)[0] + '_n_best.json'
  squad.write_n_best(n_best, found)
  return f'{count:,} answers in {path}, the n best in {n_best}'
