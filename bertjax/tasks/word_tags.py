"""Sentences with a tag for each word, which the word's first token bears.

    >>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
    >>> tokenizer = Tokenizer([*SPECIAL_TOKENS, 'rock', '##well'], cased=False)
    >>> task = Task('names', 'tags', labels=('O', 'B-PER'))
    >>> example = TagExample(('Rockwell',), ('B-PER',))
    >>> (encoded,) = encode(task, tokenizer, [example])
    >>> encoded.rows[0].ids, tag_ids(task, example, encoded)
    ([2, 5, 6, 3], [[-1, 1, -1, -1]])
    >>> decode(task, tokenizer, encoded, [np.eye(4, 2)])
    ['B-PER']

`kinds` puts these functions together.
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from bertjax.errors import UserError
from bertjax.tasks import conll, record_files, tag_metrics
from bertjax.tasks.examples import Encoded, TagExample
from bertjax.tasks.labelled_batches import NO_TAG
from bertjax.tasks.specs import Task
from bertjax.text import word_rows
from bertjax.text.tokenizer import Tokenizer


def encode(
  task: Task, tokenizer: Tokenizer, examples: Sequence[TagExample]
) -> list[Encoded]:
  """Returns the pieces of each sentence; a long one is divided, none is cut."""
  if any(isinstance(example.words, str) for example in examples):
    raise UserError('expected lists of words, got a text; split it')
  sentences = word_rows.make(
    tokenizer, [example.words for example in examples], task.length
  )
  return [
    Encoded([piece.row for piece in pieces], parts=pieces)
    for pieces in sentences
  ]


def tag_ids(
  task: Task, example: TagExample, encoded: Encoded
) -> list[list[int]]:
  """Returns for each row the tag id of each token, or `NO_TAG`."""
  assert example.tags is not None  # `read` gives them if asked for labels
  found = []
  for piece in encoded.parts:
    ids = [NO_TAG] * len(piece.row.ids)
    for word, place in enumerate(piece.first, start=piece.start):
      ids[place] = task.labels.index(example.tags[word])
    found.append(ids)
  return found


def decode(
  task: Task, tokenizer: Tokenizer, encoded: Encoded, results: list[np.ndarray]
) -> list[str]:
  """Returns the likeliest tag of each word from logits [L, C] a row."""
  del tokenizer
  pieces: list[word_rows.Piece] = encoded.parts
  return [
    task.labels[i]
    for piece, logits in zip(pieces, results, strict=True)
    for i in logits[list(piece.first)].argmax(-1)
  ]


def score(
  task: Task, pairs: Iterable[tuple[TagExample, Sequence[str]]]
) -> dict[str, float]:
  """Returns the task's metrics, see `tag_metrics.entity_scores`."""
  gold, found = [], []
  for example, tags in pairs:
    gold.append(example.tags or ())
    found.append(tags)
  values = tag_metrics.entity_scores(gold, found)
  return {name: values[name] for name in task.metrics}


def check(task: Task, examples: Iterable[TagExample]) -> None:
  """Says how many words have tags that training never had."""
  known = set(task.labels)
  unknown = sum(
    tag not in known for example in examples for tag in example.tags or ()
  )
  if unknown:
    print(
      f'{unknown:,} words have tags that training never had, and count '
      'as errors'
    )


def most_frequent(
  task: Task, train: Iterable[TagExample]
) -> Callable[[TagExample], list[str]]:
  """Returns a function that gives each word its most frequent tag in training.

  A word that is not in training gets the most frequent tag of all.
  """
  del task
  counts: dict[str, collections.Counter[str]] = collections.defaultdict(
    collections.Counter
  )
  total: collections.Counter[str] = collections.Counter()
  for example in train:
    tags = example.tags or ()
    total.update(tags)
    for word, tag in zip(example.words, tags, strict=True):
      counts[word][tag] += 1
  best = {word: each.most_common(1)[0][0] for word, each in counts.items()}
  ((default, _),) = total.most_common(1)
  return lambda example: [best.get(word, default) for word in example.words]


def read(
  task: Task, source: str | Sequence[str], labelled: bool
) -> Iterator[TagExample]:
  """Yields the sentences of a file in CoNLL columns, as in training."""
  columns = dict(task.columns)
  if not labelled:
    columns['tag_column'] = None
  return conll.read(record_files.one(source, 'EVAL_FILES'), **columns)


def write(
  task: Task,
  path: str,
  pairs: Iterable[tuple[TagExample, Sequence[str]]],
  count: int,
) -> str:
  """Writes the columns of the input, and the tags as one more."""
  conll.write(path, pairs, task.columns.get('separator') or ' ')
  return f'{count:,} sentences in {path}'
