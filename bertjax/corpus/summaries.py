"""What `token_counts` found, as objects for JSON; `measurement` says of what.

counts = token_counts.count(prepared, groups)
summaries.lengths(counts.document_lengths)['median']
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bertjax.corpus import token_counts
from bertjax.corpus.preparation import Prepared
from bertjax.corpus.words import SIGNS

RARE = 10


def splits(
  prepared: Prepared, counts: token_counts.Counts
) -> Iterator[dict[str, Any]]:
  """Yields the size of each split."""
  for name, split in prepared.splits.items():
    yield {
      'split': name,
      'documents': counts.documents[name],
      'sentences': counts.sentences[name],
      'words': counts.words[name],
      'tokens': split['tokens'],
      'bytes': sum(file['bytes'] for file in split['files']),
    }


def lengths(counter: Mapping[int, int]) -> dict[str, Any]:
  """Returns a distribution, with a bar from each of 1, 2, 5, 10, 20... on.

  >>> lengths({1: 2, 3: 1, 12: 1})['bars'][1:3]
  [{'from': 2, 'to': 4, 'count': 1}, {'from': 5, 'to': 9, 'count': 0}]

  Args:
    counter: length -> how many have it.
  """
  sizes = np.array(sorted(counter), np.int64)
  counts = np.array([counter[size] for size in sizes.tolist()], np.int64)
  total = max(int(counts.sum()), 1)
  # Of a share of all, no more is longer.
  at = np.searchsorted(np.cumsum(counts), [total * 0.5, total * 0.9])
  median, percentile_90 = sizes[at].tolist() if len(sizes) else (0, 0)
  longest = int(sizes.max(initial=0))
  edges = [0]
  while edges[-1] <= longest:
    power = len(edges) - 1
    edges.append((1, 2, 5)[power % 3] * 10 ** (power // 3))
  bars, _ = np.histogram(sizes, edges, weights=counts)
  ends = [edge - 1 for edge in edges[1:]]
  found = [
    {'from': first, 'to': last, 'count': int(count)}
    for first, last, count in zip(edges, ends, bars, strict=False)
  ]
  shown = [number for number, bar in enumerate(found) if bar['count']]
  return {
    'mean': float((sizes * counts).sum() / total),
    'median': median,
    'percentile_90': percentile_90,
    'longest': longest,
    'bars': found[shown[0] : shown[-1] + 1] if shown else [],
  }


def kinds(counts: token_counts.Counts) -> dict[str, Any]:
  """Returns how many tokens words have, the most frequent kind first."""
  words, tokens = counts.kind_words, counts.kind_tokens
  spoken = [kind for kind in words if kind != SIGNS]
  total = sum(words[kind] for kind in spoken)
  return {
    'tokens_a_word': sum(tokens[kind] for kind in spoken) / max(total, 1),
    'kinds': [
      {
        'kind': kind,
        'words': count,
        'tokens': tokens[kind],
        'tokens_a_word': tokens[kind] / count,
      }
      for kind, count in words.most_common()
    ],
  }


def entries(counts: token_counts.Counts) -> dict[str, Any]:
  """Returns how much of the vocabulary the corpus uses."""
  used = counts.used[counts.used > 0]
  return {
    'used_entries': len(used),
    'rare_entries': int((used < RARE).sum()),
  }


def duplicates(counts: token_counts.Counts) -> dict[str, Any]:
  """Returns how many documents repeat another one."""
  same = counts.same_documents
  share = same.repeated()
  return {
    'copies': round(share * sum(counts.documents.values())),
    'share': share,
    'most_often': same.most_often(),
    'is_exact': same.is_exact,
  }


def variety(counts: token_counts.Counts) -> dict[str, Any]:
  """Returns how many different words there are, in all and in samples."""
  words, samples = counts.different_words, counts.sample_words
  return {
    'different_words': round(words.different()),
    'is_exact': words.is_exact,
    'once_share': words.once(),
    'samples': len(samples),
    'sample_words': token_counts.SAMPLE,
    'different_share': (
      float(np.mean(samples)) / token_counts.SAMPLE if samples else None
    ),
  }


def groups(
  counts: token_counts.Counts, groups: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
  """Yields how often the text names each group."""
  million = sum(counts.words.values()) / 1e6
  for name, words in groups.items():
    found = counts.groups[name]
    yield {
      'group': name,
      'words': list(words),
      'found': found,
      'per_million_words': found / million if million else 0.0,
    }
