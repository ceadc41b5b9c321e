"""Sentences with a tag for each word, which the word's first token bears.

    >>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
    >>> tokenizer = Tokenizer([*SPECIAL_TOKENS, 'rock', '##well'], cased=False)
    >>> task = Task('names', 'tags', labels=('O', 'B-PER'))
    >>> example = TagExample(('Rockwell',), ('B-PER',))
    >>> (row,) = encode(task, tokenizer, [example])
    >>> row.ids, tag_ids(task, row)
    ([2, 5, 6, 3], [-1, 1, -1, -1])
    >>> import numpy as np
    >>> ((_, tags),) = decode(task, tokenizer, [(row, np.eye(4, 2))])
    >>> tags
    ['B-PER']

`kinds` puts these functions together.
"""

import collections
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from bertjax.errors import UserError
from bertjax.runs.output_files import writing
from bertjax.tasks import conll, tag_metrics
from bertjax.tasks.examples import Answered, Part, Results, TagExample, join
from bertjax.tasks.kept_examples import chunks
from bertjax.tasks.labelled_batches import NO_TAG
from bertjax.tasks.specs import Task
from bertjax.text import input_paths, word_rows
from bertjax.text.batching import Row
from bertjax.text.tokenizer import Tokenizer

# Of files in columns, which have no suffix of their own.
SUFFIXES = ('', *'.txt .conll .iob .iob2 .bio .tags .tsv .csv .out'.split())


def encode(
  task: Task, tokenizer: Tokenizer, examples: Iterable[TagExample]
) -> Iterator[Row]:
  """Yields the pieces of each sentence; a long one is divided, none is cut."""
  for some in chunks(examples):
    sentences = [example.words for example in some]
    if any(isinstance(words, str) for words in sentences):
      raise UserError('expected lists of words, got a text; split it')
    found = word_rows.make(tokenizer, sentences, task.length)
    for example, pieces in zip(some, found, strict=True):
      if not pieces:  # a sentence without words
        yield Row([], source=Part(example))
      for piece in pieces:
        last = piece is pieces[-1]
        yield piece.row._replace(source=Part(example, piece, last))


def tag_ids(task: Task, row: Row) -> list[int]:
  """Returns the tag id of each token, or `NO_TAG`."""
  example, piece, *_ = row.source
  ids = [NO_TAG] * len(row.ids)
  for word, place in enumerate(piece.first, start=piece.start):
    ids[place] = task.labels.index(example.tags[word])
  return ids


def decode(task: Task, tokenizer: Tokenizer, found: Results) -> Answered:
  """Yields the likeliest tag of each word, from logits [L, C] a row."""
  for example, pieces, results in join(found):
    tags = [
      task.labels[i]
      for piece, logits in zip(pieces, results, strict=True)
      if piece  # there is none without words
      for i in logits[list(piece.first)].argmax(-1)
    ]
    yield example, tags


def score(task: Task, pairs: Answered) -> dict[str, float]:
  """Returns the task's metrics, see `tag_metrics.entity_scores`."""
  gold, found = zip(*((x.tags or (), tags) for x, tags in pairs), strict=True)
  values = tag_metrics.entity_scores(gold, found)
  return {name: values[name] for name in task.metrics}


def check(task: Task, examples: Iterable[TagExample]) -> None:
  """Says how many words have tags that training never had, and where."""
  known, count, first = set(task.labels), 0, ''
  for example in examples:
    path, start = example.place
    for line, tag in enumerate(example.tags or (), start):
      if tag not in known:
        count += 1
        where = f' in line {line} of {path}' if path else ''
        first = first or f'{tag!r}{where}'
  if count:
    print(
      f'warning: {count:,} words have tags that training never had, and count '
      f'as errors; the first is {first}: mend it, or add such sentences to '
      'TRAIN_FILES'
    )


def most_frequent(
  task: Task, train: Iterable[TagExample]
) -> Callable[[TagExample], list[str]]:
  """Returns a function that gives each word its most frequent tag in training.

  A word that is not in training gets the most frequent tag of all.
  """
  counts = collections.defaultdict[str, Counter[str]](Counter)
  total = Counter[str]()
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
  """Yields the sentences of files in CoNLL columns, as in training."""
  columns = dict(task.columns) | ({} if labelled else {'tag_column': None})
  setting = 'TRAIN_FILES or EVAL_FILES' if labelled else 'INPUT'
  for path in input_paths.expand(source, setting):
    fixed = bool(task.labels)  # by training
    yield from conll.read(path, **columns, setting=setting, fixed=fixed)


def write(task: Task, path: str, pairs: Answered, count: int) -> str:
  """Writes the columns of the input, and the tags as one more.

  conlleval, the script of the shared tasks, scores such a file if the column
  before holds the correct tags. It takes another separator than a space with
  -d.
  """
  separator = task.columns.get('separator') or ' '
  separator = separator.replace(r'\t', '\t')
  with (
    writing(path) as part,
    open(part, 'w', encoding='utf-8', newline='\n') as file,
  ):
    for example, tags in pairs:
      for fields, tag in zip(example.columns, tags, strict=True):
        file.write(separator.join((*fields, tag)) + '\n')
      file.write('\n')
  return f'{count:,} sentences in {path}'
