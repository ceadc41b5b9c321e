"""What any pretrained model does with a text: a vector, and filled masks.

    >>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
    >>> tokens = [*SPECIAL_TOKENS, 'the', 'cat', 'sat']
    >>> tokenizer = Tokenizer(tokens, cased=False)
    >>> task = Task('masks', 'masks')
    >>> text = TextExample(('The [MASK] sat',))
    >>> (encoded,) = encode_masks(task, tokenizer, [text])
    >>> [row.position for row in encoded.rows]
    [2]
    >>> likeliest = np.array([0.5, 0.25]), np.array([6, 5])
    >>> decode_masks(task, tokenizer, encoded, [likeliest])
    [[('cat', 0.5), ('the', 0.25)]]

`kinds` puts these functions together.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bertjax.runs.output_files import writing
from bertjax.tasks import record_files
from bertjax.tasks.examples import Encoded, TextExample
from bertjax.tasks.specs import Task
from bertjax.text import line_files
from bertjax.text.tokenizer import Tokenizer

Likeliest = list[list[tuple[str, float]]]


def encode_masks(
  task: Task, tokenizer: Tokenizer, examples: Sequence[TextExample]
) -> list[Encoded]:
  """Returns a row for each [MASK] of a text, each with another `position`."""
  mask = tokenizer.ids['[MASK]']
  rows = tokenizer.rows([x.texts for x in examples], task.length, masks=True)
  return [
    Encoded(
      [
        row._replace(position=place)
        for place, token in enumerate(row.ids)
        if token == mask
      ],
      cut,
    )
    for row, cut in rows
  ]


def decode_masks(
  task: Task,
  tokenizer: Tokenizer,
  encoded: Encoded,
  results: list[tuple[np.ndarray, np.ndarray]],
) -> Likeliest:
  """Returns (token, probability), likeliest first, of each mask."""
  del task, encoded
  return [
    [
      (tokenizer.tokens[i], float(p))
      for p, i in zip(probabilities, ids, strict=True)
    ]
    for probabilities, ids in results
  ]


def decode_vector(
  task: Task, tokenizer: Tokenizer, encoded: Encoded, results: list[np.ndarray]
) -> np.ndarray:
  """Returns float32[D]."""
  del task, tokenizer, encoded
  return results[0]


def read(task: Task, source: str, labelled: bool) -> Iterator[TextExample]:
  """Yields the texts of a file of lines or JSON lines."""
  del task, labelled
  for record in line_files.read(source):
    yield TextExample((record['text'],), record=record)


def write_masks(
  task: Task,
  path: str,
  pairs: Iterable[tuple[TextExample, Likeliest]],
  count: int,
) -> str:
  """Writes each record with a field `masks`."""
  del task
  without = 0

  def records() -> Iterator[dict[str, Any]]:
    nonlocal without
    for example, answers in pairs:
      without += not answers
      yield {
        **example.record,
        'masks': [
          [{'token': t, 'probability': p} for t, p in answer]
          for answer in answers
        ],
      }

  record_files.write_lines(path, records())
  return f'{count:,} texts in {path}' + (
    f'; {without:,} have no [MASK] within LENGTH' if without else ''
  )


def write_vectors(
  task: Task,
  path: str,
  pairs: Iterable[tuple[TextExample, np.ndarray]],
  count: int,
) -> str:
  """Writes .npy, float32[n, D], or .jsonl, each record with `embedding`."""
  del task
  if path.endswith('.jsonl'):
    record_files.write_lines(
      path,
      ({**x.record, 'embedding': vector.tolist()} for x, vector in pairs),
    )
    return f'{count:,} vectors in {path}'
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
