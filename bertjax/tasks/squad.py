"""Questions of SQuAD 1.1 and 2.0, and their files.

    >>> answer = Answer(' Ada', 4)
    >>> examples = [QuestionExample('q1', 'Who?', 'By Ada.', (answer,))]
    >>> examples, left = check(examples)  # or check(read('train-v1.1.json'))
    >>> examples[0].answers, left
    ((Answer(text='Ada', start=3),), 1)

Source: Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822).
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from bertjax.errors import UserError, expect
from bertjax.tasks.examples import Answer, QuestionExample
from bertjax.text import input_files, input_paths

Value = TypeVar('Value')


def read(
  source: str | Sequence[str], labelled: bool = True
) -> list[QuestionExample]:
  """Returns the questions of files in the official JSON, of 1.1 or 2.0.

  Args:
    source: such as train-v1.1.json, see `input_paths.expand`.
    labelled: whether every question must have `answers`.

  Raises:
    UserError: no file, not JSON, another structure, no question, an id occurs
      twice.

  A line says how many questions or contexts are blank.
  """
  setting = 'TRAIN_FILES or EVAL_FILES' if labelled else 'INPUT'
  examples: list[QuestionExample] = []
  first: dict[str, str] = {}  # id -> its file
  for path in input_paths.expand(source, setting):
    text = ''.join(input_files.lines(path, setting))
    fix = 'give a SQuAD file, such as dev-v1.1.json'
    content = input_files.json_object(text, path, fix)
    found = list(_questions(content, path, labelled))
    expect(found, f'questions in {path}', found, setting)
    for example in found:
      if other := first.get(example.identifier):
        raise UserError(
          f'expected each id once, got {example.identifier!r} in {path} after '
          f'{other}; give each question an id of its own'
        )
      first[example.identifier] = path
    examples += found
  blank = [
    example.identifier
    for example in examples
    if not (example.question.strip() and example.context.strip())
  ]
  if blank:
    print(
      f'warning: {len(blank):,} of {len(examples):,} questions or their '
      f'contexts are blank, the first with the id {blank[0]!r}; fill them in '
      'or remove them',
      flush=True,
    )
  return examples


def check(
  examples: Iterable[QuestionExample],
) -> tuple[list[QuestionExample], int]:
  """Corrects where answers start in their context, for training.

  Answer(' Ada', 4) in 'By Ada.' becomes Answer('Ada', 3), the nearest place at
  which the text occurs. An answer that occurs nowhere is dropped, and so is a
  question that loses all of its answers.

  Returns:
    the examples, and how many answers were not where the file says.
  """
  kept, count = [], 0
  for example in examples:
    told = [_strip(answer) for answer in example.answers]
    found = [_nearest(example.context, answer) for answer in told]
    count += sum(a != b for a, b in zip(told, found, strict=True))
    if any(found) or not told:
      kept.append(example._replace(answers=tuple(filter(None, found))))
  return kept, count


def split_by_article(
  examples: Sequence[QuestionExample], parts: int = 10
) -> tuple[list[QuestionExample], list[QuestionExample]]:
  """Returns examples for training and for evaluation, with no article in both.

  Args:
    examples: of at least two articles.
    parts: 10 holds out about a tenth of the articles, and at least one.

  Raises:
    UserError: there is only one article.
  """
  titles = sorted({example.title for example in examples})
  what = 'at least two articles, to hold one out'
  expect(len(titles) > 1, what, titles, 'EVAL_FILES')
  chosen = set(titles[::parts])
  train = [example for example in examples if example.title not in chosen]
  return train, [example for example in examples if example.title in chosen]


def _questions(
  content: object, path: str, labelled: bool
) -> Iterator[QuestionExample]:
  repair = input_files.repair
  get, items = functools.partial(_get, path), functools.partial(_items, path)
  for i, (where, article) in enumerate(items('', content, 'data')):
    for place, paragraph in items(where, article, 'paragraphs'):
      context = repair(get(place, paragraph, 'context', str))
      for at, item in items(place, paragraph, 'qas'):
        identifier = get(at, item, 'id', str)
        question = repair(get(at, item, 'question', str))
        impossible = item.get('is_impossible') is not None
        impossible = impossible and get(at, item, 'is_impossible', bool)
        known = labelled and not impossible
        answers = tuple(
          Answer(repair(get(x, y, 'text', str)), get(x, y, 'answer_start', int))
          for x, y in (items(at, item, 'answers') if known else ())
        )
        title = str(article.get('title', i))
        yield QuestionExample(identifier, question, context, answers, title)


def _items(path: str, where: str, record: Any, key: str) -> Iterator[Any]:
  """Yields (where it is, item) for each item of a list in a record."""
  for i, item in enumerate(_get(path, where, record, key, list)):
    yield f'{where}.{key}[{i}]'.removeprefix('.'), item


def _get(
  path: str, where: str, record: Any, key: str, kind: type[Value]
) -> Value:
  value = record.get(key) if isinstance(record, dict) else record
  if isinstance(record, dict) and isinstance(value, kind):
    return value
  missing = isinstance(record, dict) and key not in record
  got = f'the keys {", ".join(record)}' if missing else f'{value!r:.40}'
  raise UserError(
    f'expected "{key}", a {kind.__name__}, in {where or "the root"} of {path}, '
    f'got {got}; give a file in the official JSON of SQuAD'
  )


def _strip(answer: Answer) -> Answer:
  """Removes outer spaces, which no token covers."""
  text = answer.text.lstrip()
  return Answer(text.rstrip(), answer.start + len(answer.text) - len(text))


def _nearest(context: str, answer: Answer) -> Answer | None:
  """Moves the answer to the nearest place at which its text occurs, if any."""
  text, start = answer.text, max(answer.start, 0)
  places = context.rfind(text, 0, start + len(text)), context.find(text, start)
  found = [place for place in places if place >= 0]
  if not text or not found:
    return None
  return Answer(text, min(found, key=lambda place: abs(place - start)))
