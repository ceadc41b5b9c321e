"""Rows of text with [MASK], one for each mask, and the likeliest tokens there.

    rows, _ = tokenizer.rows(['The [MASK] sat.'], length=128, masks=True)
    found = predict(tokenizer, rows, likeliest_of)
    found[0][0][0]  # ('cat', 0.31): of text 0, mask 0, the likeliest

Source: ours.
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
    tokenizer: of the model.
    texts: a row each, with any number of masks.
    likeliest_of: rows, with the place of one mask in `position`, to the
      probabilities and ids of the likeliest tokens there.
  """
  mask = tokenizer.ids['[MASK]']
  rows, counts = [], []  # a row for each mask
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
