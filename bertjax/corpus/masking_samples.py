"""What masks and noise did to sampled rows of a corpus, and what was asked.

rows = Rows(batch_size=32, length=128, mask_rate=(0.1, 0.2), noise='deletion')
masking_samples.masking_of(prepared, rows)['rate']   # that came out, 0.1497
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bertjax.batch import Rates, bounds_of
from bertjax.corpus import row_samples, windows
from bertjax.corpus.preparation import Prepared
from bertjax.corpus.row_samples import Rows
from bertjax.text import masking, noises

# Kind of pairs -> what the label 1 says.
_CHANGED = {
  'nsp': 'the second half is from another document',
  'sop': 'the halves are swapped',
  'same_document': 'the halves are from two documents',
}

Arrays = Mapping[str, np.ndarray]


def masking_of(prepared: Prepared, rows: Rows) -> dict[str, Any]:
  """Returns what masks and noise were asked for, and what came out.

  Returns:
    `sampled_rows`; `tokens` of them that may be masked, and `targets`;
    `rate_asked`, with `rate_lowest` and `rate_highest` of those that sequences
    draw from, and `rate`; shares of the targets `masked_asked`, `masked`,
    `random_asked`, `random`, `kept_asked`, `kept`; `unit`; of pairs
    `changed_pairs`, what their label 1 says, `changed_pairs_share`, those that
    have it, and `cut_pairs_share`, those of one sentence (of 'nsp'), else None;
    `noise`, None or an object: its `name`, `places` where it may be, and of
    these `rate_asked`, `rate_lowest`, `rate_highest` and `rate`.
  """
  vocabulary = prepared.vocabulary
  _, sample = row_samples.sampled(prepared, rows)
  # With masks, which are undone: without noise there must be some.
  bare = dataclasses.replace(rows, noise=None, noise_rate=None, mask_rate=0.15)
  _, plain = row_samples.sampled(prepared, bare)
  seen = maskable = targets = masked = kept = changed = places = touched = 0
  for some, without in zip(sample, plain, strict=False):
    clean, original, replaced = _unmasked(some, vocabulary.special)
    if rows.noise is not None:
      mine, *_ = _unmasked(without, vocabulary.special)
      did, of, spared = _NOISES[rows.noise](some, clean, mine)
      touched, places, maskable = touched + did, places + of, maskable - spared
    maskable += int(clean.sum())
    seen += len(clean)
    targets += len(original)
    masked += int((replaced == vocabulary.mask_id).sum())
    kept += int((replaced == original).sum())
    changed += int(some['pair_labels'].sum())
  of_all = max(targets, 1)
  return {
    'sampled_rows': seen,
    'tokens': maskable,
    'targets': targets,
    'unit': rows.mask_unit,
    **_asked(rows.mask_rate),
    'rate': targets / max(maskable, 1),
    'masked_asked': masking.MASKED,
    'masked': masked / of_all,
    'random_asked': masking.RANDOM,
    'random': (targets - masked - kept) / of_all,
    'kept_asked': round(1 - masking.MASKED - masking.RANDOM, 6),
    'kept': kept / of_all,
    **_pairs(prepared, rows, changed / max(seen, 1)),
    'noise': rows.noise and _noise(rows, touched, places),
  }


def _unmasked(
  rows: Arrays, special: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns which tokens are clean, bool[B, L], and the targets of masks.

  These are int32[n], what they were, and what stands in their places.
  """
  counted = rows['weights'] > 0
  row, _ = np.nonzero(counted)
  at = rows['target_positions'][counted]
  original, replaced = rows['targets'][counted], rows['tokens'][row, at]
  before = rows['tokens'].copy()
  before[row, at] = original
  return (rows['segments'] > 0) & ~special[before], original, replaced


def _asked(rate: Rates) -> dict[str, float]:
  low, high = bounds_of(rate)
  return {
    'rate_asked': (low + high) / 2,
    'rate_lowest': low,
    'rate_highest': high,
  }


def _pairs(prepared: Prepared, rows: Rows, changed: float) -> dict[str, Any]:
  cut = None
  if rows.next_sentence and rows.pair_kind == 'nsp':
    split, vocabulary = prepared.split('train'), prepared.vocabulary
    cut = windows.cut_share(split, vocabulary, rows.length)
  return {
    'changed_pairs': (_CHANGED[rows.pair_kind] if rows.next_sentence else None),
    'changed_pairs_share': changed if rows.next_sentence else None,
    'cut_pairs_share': cut,
  }


def _noise(rows: Rows, touched: int, places: int) -> dict[str, Any]:
  assert rows.noise is not None
  return {
    'name': rows.noise,
    'places': places,
    **_asked(rows.noise_rate or noises.NOISES[rows.noise].rate),
    'rate': touched / max(places, 1),
  }


# How often noise did something, in how many places it could have, and how many
# of the clean tokens masks had to spare; of rows, their tokens that are clean
# (not special), and those that were before noise came, both bool[B, L].
def _permutation(
  some: Arrays, clean: np.ndarray, plain: np.ndarray
) -> tuple[int, int, int]:
  del clean
  shuffled = int(some['order_weights'].sum())
  trigrams = plain[:, :-2] & plain[:, 1:-1] & plain[:, 2:]
  return shuffled // 3, int(trigrams.sum()), shuffled


def _replacement(
  some: Arrays, clean: np.ndarray, plain: np.ndarray
) -> tuple[int, int, int]:
  del clean
  found = int(some['detection_labels'].sum())
  return found, int(plain.sum()), found


def _insertion(
  some: Arrays, clean: np.ndarray, plain: np.ndarray
) -> tuple[int, int, int]:
  del plain  # whose rows are of longer text
  found = int(some['detection_labels'].sum())
  return found, int(clean.sum()) - found, found


def _deletion(
  some: Arrays, clean: np.ndarray, plain: np.ndarray
) -> tuple[int, int, int]:
  del some
  gone = int(plain.sum() - clean.sum())
  return gone, int((plain[:, 1:] & plain[:, :-1]).sum()), 0


_NOISES: dict[str, Callable[..., tuple[int, int, int]]] = {
  'permutation': _permutation,
  'replacement': _replacement,
  'insertion': _insertion,
  'deletion': _deletion,
}
