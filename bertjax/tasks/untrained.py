"""What any pretrained model does with a text: a vector, and filled masks.

    >>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
    >>> tokens = [*SPECIAL_TOKENS, 'the', 'cat', 'sat']
    >>> tokenizer = Tokenizer(tokens, cased=False)
    >>> task = Task('masks', 'masks')
    >>> examples = [TextExample(('The [MASK] sat',))]
    >>> (row,) = encode_masks(task, tokenizer, examples)
    >>> row.position
    2
    >>> likeliest = np.array([0.5]), np.array([6])
    >>> ((_, answer),) = decode_masks(task, tokenizer, [(row, likeliest)])
    >>> answer
    {'masks': [[{'token': 'cat', 'probability': 0.5}]]}

`kinds` puts these functions together.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from bertjax.runs.output_files import writing
from bertjax.tasks import record_files, text_labels
from bertjax.tasks.examples import Answered, Results, TextExample, join
from bertjax.tasks.specs import Task
from bertjax.text.batching import Row
from bertjax.text.tokenizer import Tokenizer


def encode_masks(
  task: Task, tokenizer: Tokenizer, examples: Iterable[TextExample]
) -> Iterator[Row]:
  """Yields a row for each [MASK] of a text, with its place as `position`.

  A text without a [MASK] gives a row without tokens.
  """
  mask = tokenizer.id_of('mask')
  for row in text_labels.encode(task, tokenizer, examples, masks=True):
    places = [i for i, token in enumerate(row.ids) if token == mask]
    if not places:
      yield Row([], source=row.source)
    for place in places:
      last = place == places[-1]
      source = row.source._replace(last=last, cut=row.source.cut and last)
      yield row._replace(position=place, source=source)


def decode_masks(task: Task, tokenizer: Tokenizer, found: Results) -> Answered:
  """Yields {'masks': ...}: for each, {'token', 'probability'}, best first.

  Results are the likeliest tokens of a [MASK]: probabilities and ids.
  """
  named = ((row, _named(tokenizer, row, likeliest)) for row, likeliest in found)
  for example, _, results in join(named):
    yield example, {'masks': [x for x in results if x is not None]}


def _named(
  tokenizer: Tokenizer, row: Row, likeliest: tuple[np.ndarray, ...] | None
) -> list[dict[str, Any]] | None:
  if likeliest is None:
    return None
  words = [tokenizer.shown[i] for i in likeliest[1]]
  before = row.ids[row.position - 1]
  if tokenizer.rules and before in map(tokenizer.id_of, ('cls', 'sep')):
    # What begins a text continues nothing.
    words = [word.removeprefix('##') for word in words]
  return [
    {'token': word, 'probability': float(p)}
    for p, word in zip(likeliest[0], words, strict=True)
  ]


def decode_vector(task: Task, tokenizer: Tokenizer, found: Results) -> Answered:
  """Yields float32[D]."""
  for row, vector in found:
    yield row.source.example, vector


def write_masks(task: Task, path: str, pairs: Answered, count: int) -> str:
  """Writes JSON lines, and says how many texts have no [MASK]."""
  without = 0

  def counted() -> Answered:
    nonlocal without
    for example, answer in pairs:
      without += not answer['masks']
      yield example, answer

  said = record_files.write(task, path, counted(), count)
  more = f'; {without:,} have no [MASK] within LENGTH' if without else ''
  return said + more


def write_vectors(task: Task, path: str, pairs: Answered, count: int) -> str:
  """Writes .npy, float32[n, D], or .jsonl, each record with `embedding`."""
  first = next(pairs)
  width = len(first[1])
  pairs = itertools.chain([first], pairs)
  if path.endswith('.jsonl'):
    records = ((x, {'embedding': vector.tolist()}) for x, vector in pairs)
    record_files.write(task, path, records, count)
  else:
    # With a name that ends otherwise, numpy would append .npy.
    with writing(path) as part, open(part, 'wb') as file:
      header = {'descr': '<f4', 'fortran_order': False, 'shape': (count, width)}
      np.lib.format.write_array_header_1_0(file, header)
      for _, vector in pairs:
        file.write(vector.astype('<f4').tobytes())
  return f'{count:,} vectors of {width} in {path}'
