"""Finds the likeliest tokens for each [MASK] of a text.

>>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
>>> tokens = [*SPECIAL_TOKENS, 'the', 'cat', 'sat']
>>> tokenizer = Tokenizer(tokens, cased=False)
>>> rows, _ = tokenizer.rows(['The [MASK] sat'], length=128, masks=True)
>>> likeliest_of = lambda rows: (([0.5, 0.25], [6, 5]) for _ in rows)
>>> predict(tokenizer, rows, likeliest_of)  # of text 0: of mask 0: tokens
[[[('cat', 0.5), ('the', 0.25)]]]
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from bertjax.text.batching import Row
from bertjax.text.tokenizer import Tokenizer


def predict(
  tokenizer: Tokenizer,
  texts: Iterable[Row],
  likeliest_of: Callable[
    [Iterable[Row]], Iterator[tuple[np.ndarray, np.ndarray]]
  ],
) -> list[list[list[tuple[str, float]]]]:
  """Returns (token, probability), likeliest first, of each mask of each text.

  Args:
    tokenizer: the model's.
    texts: a row a text, with any number of masks.
    likeliest_of: maps rows, each with the index of one mask in `position`, to
      the probabilities and ids of the likeliest tokens there.
  """
  mask = tokenizer.ids['[MASK]']
  rows, counts = [], []  # one row for each mask; the masks of each text
  for row in texts:
    places = [i for i, token in enumerate(row.ids) if token == mask]
    rows += [row._replace(position=place) for place in places]
    counts.append(len(places))
  answers = iter(
    [
      [
        (tokenizer.tokens[i], float(p))
        for i, p in zip(ids, probabilities, strict=True)
      ]
      for probabilities, ids in likeliest_of(rows)
    ]
  )
  return [[next(answers) for _ in range(count)] for count in counts]
