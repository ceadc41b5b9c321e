"""Metrics of tagged sentences.

    >>> entity_scores([['B-NP', 'I-NP', 'O', 'O']], [['B-NP', 'O', 'O', 'O']])
    {'f1': 0.0, 'precision': 0.0, 'recall': 0.0, 'accuracy': 0.75}

Source: Tjong Kim Sang and Buchholz 2000, 'Introduction to the CoNLL-2000 Shared
Task: Chunking'; chunks start and end as in its script, conlleval.
"""

from collections.abc import Iterable, Sequence


def entity_scores(
  gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, float]:
  """Returns the metrics of all sentences together, from 0 to 1.

  A chunk is correct if its type, first word and last word are.

  Args:
    gold: the tags of each sentence's words, in IOB1, IOB2 or BIOES; tags that
      break the scheme are read as conlleval does, see `chunks`.
    predicted: as many.

  Returns:
    f1, precision and recall of chunks, 0.0 if there are none to divide by, and
    accuracy of the tags of all words.
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

      >>> sorted(chunks(['B-NP', 'I-NP', 'O', 'I-VP']))
      [('NP', 0, 2), ('VP', 3, 4)]

  A chunk starts at B- and S-, and at any other tag but O that follows O, E-, S-
  or another type; it ends before the next start or O.

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
  """Returns whether tags mark chunks, as 'O', 'B-NP' and 'I-NP' do.

  Parts of speech do not; for them only accuracy makes sense.
  """
  prefixes = {tag.partition('-')[0] for tag in tags} - {'O'}
  return bool(prefixes) and prefixes <= set('BIES')
