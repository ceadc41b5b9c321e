"""Words, tokens and [UNK] by language, of a sample of a corpus.

found = language_samples.find(prepared, seed=0)
found['languages'][0]   # {'language': 'en', 'share': 0.93, 'words': ...}

The texts are pieces of documents as the vocabulary spells them, without what it
cannot spell; the languages are those of `languages`.
"""

import collections
from typing import Any

import numpy as np

from bertjax.corpus import languages
from bertjax.corpus.preparation import Prepared
from bertjax.corpus.words import Words
from bertjax.errors import UserError
from bertjax.text import hashing

TEXTS, WORDS = 2000, 400  # looked at: so many texts, of so many words each
OTHERS = 'others'
_FEWEST = 0.005  # share of the texts; languages of fewer are often mistaken
_PLACE = 20  # coordinate of the hash


def find(prepared: Prepared, seed: int) -> dict[str, Any]:
  """Returns `language_texts`, how many were looked at, and `languages`.

  Returns:
    of each `language`, a code of ISO 639, the most frequent first: its `share`
    of the texts; `words` and `tokens` of the sample; `tokens_a_word`, signs of
    punctuation left out; `unknown_share` of [UNK] among the tokens. Rare ones
    are put together. None: py3langid is not installed.
  """
  try:
    languages.check_codes(())
  except UserError:
    return {'language_texts': 0, 'languages': None}
  texts = collections.Counter[str]()
  # Words, tokens of these, tokens, [UNK] of each language.
  sums = collections.defaultdict[str, np.ndarray](lambda: np.zeros(4, np.int64))
  split, words = prepared.split('train'), Words(prepared.vocabulary)
  size = len(split)
  numbers = np.arange(min(size, TEXTS))
  for number in hashing.permuted(numbers, size, seed, _PLACE).tolist():
    ids = split.piece(number).tokens.astype(np.int64)
    text, counts = _look(ids, words, prepared.vocabulary.unk_id)
    code, _ = languages.language_of(text)
    texts[code] += 1
    sums[code] += counts
  total = texts.total()
  for code in [x for x, count in texts.items() if count < _FEWEST * total]:
    texts[OTHERS] += texts.pop(code)
    sums[OTHERS] += sums.pop(code)
  return {
    'language_texts': total,
    'languages': [
      _row(code, count / total, sums[code].tolist())
      for code, count in texts.most_common()
    ],
  }


def _row(code: str, share: float, sums: list[int]) -> dict[str, Any]:
  words, of_words, tokens, unknown = sums
  return {
    'language': code,
    'share': share,
    'words': words,
    'tokens': tokens,
    'tokens_a_word': of_words / max(words, 1),
    'unknown_share': unknown / max(tokens, 1),
  }


def _look(
  ids: np.ndarray, words: Words, unk_id: int
) -> tuple[str, tuple[int, int, int, int]]:
  """Returns the text of the first words of a piece, and counts of these."""
  starts = words.starts(ids)
  if len(starts) > WORDS:
    ids, starts = ids[: starts[WORDS]], starts[:WORDS]
  sizes = np.diff(starts, append=len(ids))
  is_word = words.is_word()[ids[starts]]
  text = ' '.join(
    words.spell(ids[start : start + size])
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
    if ids[start] != unk_id
  )
  counts = (
    int(is_word.sum()),
    int(sizes[is_word].sum()),
    len(ids),
    int((ids == unk_id).sum()),
  )
  return text, counts
