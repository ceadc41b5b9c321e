"""Metrics of tagged sentences, and the baseline that a model must be above.

    scores = entity_scores([['B-NP', 'I-NP', 'O']], [['B-NP', 'O', 'O']])
    scores  # {'f1': 0.0, 'precision': 0.0, 'recall': 0.0, 'accuracy': 0.66...}

Source: Tjong Kim Sang and Buchholz 2000, 'Introduction to the CoNLL-2000 Shared
Task: Chunking'; where chunks start and end is as in its script, conlleval.
"""

import collections
from collections.abc import Iterable, Sequence

from bertjax.tasks.examples import TagExample


def entity_scores(
  gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, float]:
  """Returns the metrics of all sentences together, from 0 to 1.

  A chunk is right where its type, its first and its last word are.

  Args:
    gold: tags of the words of each sentence, as IOB1, IOB2 or BIOES; what
      breaks the scheme is read as conlleval does, see `chunks`.
    predicted: as many.

  Returns:
    f1, precision and recall of chunks, 0.0 where there is nothing to divide by,
    and accuracy of the words' tags, chunks or not.
  """
  right = expected = found = words = same = 0
  for a, b in zip(gold, predicted, strict=True):
    a_chunks, b_chunks = chunks(a), chunks(b)
    right += len(a_chunks & b_chunks)
    expected += len(a_chunks)
    found += len(b_chunks)
    words += len(a)
    same += sum(x == y for x, y in zip(a, b, strict=True))
  return {
    'f1': 2 * right / max(expected + found, 1),
    'precision': right / max(found, 1),
    'recall': right / max(expected, 1),
    'accuracy': same / max(words, 1),
  }


def chunks(tags: Sequence[str]) -> set[tuple[str, int, int]]:
  """Returns (type, first word, word after the last) of each chunk.

  'B-NP I-NP O I-VP' to ('NP', 0, 2), ('VP', 3, 4). A chunk starts at B- and S-,
  and at any other tag that follows O, E-, S- or another type; it goes on up to
  the next start or O.

  Args:
    tags: of a sentence; 'B' and 'I' alone are of type ''.
  """
  found = set()
  start, before, kind = 0, 'O', ''
  for i, tag in enumerate([*tags, 'O']):
    prefix, _, new_kind = tag.partition('-')
    breaks = (
      prefix in ('O', 'B', 'S') or before in ('O', 'E', 'S') or new_kind != kind
    )
    if breaks and before != 'O':
      found.add((kind, start, i))
    if breaks:
      start = i
    before, kind = prefix, new_kind
  return found


def is_chunked(tags: Iterable[str]) -> bool:
  """Returns whether a set of tags is one of chunks: 'O', 'B-NP', 'I-NP'.

  Parts of speech are not; of them only accuracy says something.
  """
  prefixes = {tag.partition('-')[0] for tag in tags} - {'O'}
  return bool(prefixes) and prefixes <= set('BIES')


def most_frequent_tag(
  train: Sequence[TagExample], evaluation: Sequence[TagExample]
) -> list[list[str]]:
  """Returns for each word the tag that it has most often in training.

  A word that is not in training gets the most frequent tag of all.

  Args:
    train: with tags.
    evaluation: to predict on.
  """
  counts = collections.defaultdict(collections.Counter)
  total = collections.Counter()
  for example in train:
    total.update(example.tags)
    for word, tag in zip(example.words, example.tags, strict=True):
      counts[word][tag] += 1
  best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
  ((default, _),) = total.most_common(1)
  return [
    [best.get(word, default) for word in example.words]
    for example in evaluation
  ]
