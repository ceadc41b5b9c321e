"""Simple topics of a corpus: words that occur together in a sample of texts.

    found = topics.find(prepared, seed=0)
    found['topics'][0]   # {'share': 0.13, 'words': ['ship', 'captain', ...]}

The texts are pieces of documents; their words are weighted by tf-idf, and the
topics are the parts of a non-negative factorisation of these. They are no more
than a first look: another seed or another number of them divides the text anew.
"""

import warnings
from typing import Any

import numpy as np

from bertjax.corpus.preparation import Prepared
from bertjax.corpus.words import Words
from bertjax.text import hashing

TEXTS, WORDS = 1500, 400  # looked at: so many texts, of so many words each
TOPICS, NAMED = 10, 8  # most topics, and words that are shown of each
_FEWEST = 30  # texts
_LETTERS = 3  # of a word, at least
_MOST_COMMON = 0.25  # share of the texts; words in more of them tell nothing
_FEATURES = 10_000
_PLACE, _START = 18, 19  # coordinates of the hash


def find(prepared: Prepared, seed: int) -> dict[str, Any]:
  """Returns `texts`, how many were looked at, and `topics`.

  Returns:
    of each topic, the largest first, its `share` of these texts, whose
    strongest it is, and its most characteristic `words`. There are none of
    fewer than 30 texts.
  """
  texts = _sample(prepared, seed)
  if len(texts) < _FEWEST:
    return {'texts': len(texts), 'topics': []}
  # Imported late: takes a second.
  from sklearn.decomposition import NMF
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.feature_extraction.text import TfidfVectorizer

  weigh = TfidfVectorizer(
    analyzer=str.split,
    max_df=_MOST_COMMON,
    min_df=2,
    max_features=_FEATURES,
    sublinear_tf=True,
    dtype=np.float32,
  )
  try:
    weights = weigh.fit_transform(texts)
  except ValueError:  # no word is in two texts and not in most
    return {'texts': len(texts), 'topics': []}
  count = min(TOPICS, len(texts) // 10, weights.shape[1])
  factors = NMF(count, init='nndsvda', random_state=0, max_iter=100)
  with warnings.catch_warnings():
    # So near the end, what words lead a topic does not change.
    warnings.simplefilter('ignore', ConvergenceWarning)
    strengths = factors.fit_transform(weights)
  named = weigh.get_feature_names_out()
  strongest = strengths.argmax(1)[strengths.any(1)]
  shares = np.bincount(strongest, minlength=count) / len(texts)
  leading = np.argsort(-factors.components_, axis=1, kind='stable')
  return {
    'texts': len(texts),
    'topics': [
      {
        'share': float(shares[topic]),
        'words': named[leading[topic, :NAMED]].tolist(),
      }
      for topic in np.argsort(-shares, kind='stable').tolist()
      if shares[topic]
    ],
  }


def _sample(prepared: Prepared, seed: int) -> list[str]:
  """Returns words in a row of random pieces, in lower case."""
  split, words = prepared.split('train'), Words(prepared.vocabulary)
  spelt = words.is_spelt()
  size = len(split)
  texts = []
  for number in hashing.permuted(
    np.arange(min(size, TEXTS)), size, seed, _PLACE
  ).tolist():
    ids = split.piece(number).tokens.astype(np.int64)
    starts = words.starts(ids)
    # What a text begins with is more often a heading than what follows.
    room = max(0, len(starts) - WORDS)
    first = int(hashing.integers(room + 1, seed, _START, number))
    ends = np.append(starts[1:], len(ids))
    some = slice(first, first + WORDS)
    found = [
      words.spell(ids[start:end]).lower()
      for start, end in zip(starts[some], ends[some], strict=True)
      if spelt[ids[start]]
    ]
    text = ' '.join(word for word in found if len(word) >= _LETTERS)
    if text:
      texts.append(text)
  return texts
