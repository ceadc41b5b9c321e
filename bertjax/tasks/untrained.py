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

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from bertjax.runs.output_files import writing
from bertjax.tasks import record_files
from bertjax.tasks.examples import Part, TextExample, join
from bertjax.tasks.kept_examples import chunks
from bertjax.tasks.specs import Task
from bertjax.text import line_files
from bertjax.text.batching import Row
from bertjax.text.tokenizer import Tokenizer

Likeliest = tuple[np.ndarray, np.ndarray]  # probabilities and ids


def encode_masks(
  task: Task, tokenizer: Tokenizer, examples: Iterable[TextExample]
) -> Iterator[Row]:
  """Yields a row for each [MASK] of a text, with its place as `position`.

  A text without a [MASK] gives a row without tokens.
  """
  mask = tokenizer.ids['[MASK]']
  for some in chunks(examples):
    texts = [example.texts for example in some]
    rows = tokenizer.rows(texts, task.length, masks=True)
    for example, (row, cut) in zip(some, rows, strict=True):
      places = [i for i, token in enumerate(row.ids) if token == mask]
      if not places:
        yield Row([], source=Part(example, cut=cut))
      for place in places:
        last = place == places[-1]
        source = Part(example, None, last, cut and last)
        yield row._replace(position=place, source=source)


def decode_masks(
  task: Task, tokenizer: Tokenizer, found: Iterable[tuple[Row, Likeliest]]
) -> Iterator[tuple[TextExample, dict[str, Any]]]:
  """Yields {'masks': ...}: for each, {'token', 'probability'}, best first."""
  del task
  for example, _, results in join(found):
    yield (
      example,
      {
        'masks': [
          [
            {'token': tokenizer.tokens[i], 'probability': float(p)}
            for p, i in zip(*likeliest, strict=True)
          ]
          for likeliest in results
          if likeliest is not None
        ]
      },
    )


def decode_vector(
  task: Task, tokenizer: Tokenizer, found: Iterable[tuple[Row, np.ndarray]]
) -> Iterator[tuple[TextExample, np.ndarray]]:
  """Yields float32[D]."""
  del task, tokenizer
  for row, vector in found:
    yield row.source.example, vector


def read(task: Task, source: str, labelled: bool) -> Iterator[TextExample]:
  """Yields the texts of a file of lines or JSON lines."""
  del task, labelled
  for record in line_files.read(source):
    yield TextExample((record['text'],), record=record)


def write_masks(
  task: Task,
  path: str,
  pairs: Iterable[tuple[TextExample, dict[str, Any]]],
  count: int,
) -> str:
  """Writes JSON lines, and says how many texts have no [MASK]."""
  without = 0

  def counted() -> Iterator[tuple[TextExample, dict[str, Any]]]:
    nonlocal without
    for example, answer in pairs:
      without += not answer['masks']
      yield example, answer

  said = record_files.write(task, path, counted(), count)
  more = f'; {without:,} have no [MASK] within LENGTH' if without else ''
  return said + more


def write_vectors(
  task: Task,
  path: str,
  pairs: Iterable[tuple[TextExample, np.ndarray]],
  count: int,
) -> str:
  """Writes .npy, float32[n, D], or .jsonl, each record with `embedding`."""
  if path.endswith('.jsonl'):
    width = 0

    def answers() -> Iterator[tuple[TextExample, dict[str, Any]]]:
      nonlocal width
      for example, vector in pairs:
        width = len(vector)
        yield example, {'embedding': vector.tolist()}

    record_files.write(task, path, answers(), count)
    return f'{count:,} vectors of {width} in {path}'
  # With a name that ends otherwise, numpy would append .npy.
  with writing(path) as part, open(part, 'wb') as file:
    for place, (_, vector) in enumerate(pairs):
      if not place:
        np.lib.format.write_array_header_1_0(
          file,
          {
            'descr': '<f4',
            'fortran_order': False,
            'shape': (count, len(vector)),
          },
        )
      file.write(vector.astype('<f4').tobytes())
  return f'{count:,} vectors of {len(vector)} in {path}'
