r"""Finds what occurs before: whole documents, and paragraphs of them.

    >>> hashes = [document_hash(x) for x in ('A cat.', 'A dog.', '"a cat"')]
    >>> repeats(np.array(hashes, np.uint64)).tolist()
    [False, False, True]
    >>> first, second = paragraph_hashes('News\nnews ')
    >>> bool(first == second)
    True

For documents that are nearly the same see `near_duplicates`.
"""

import hashlib

import numpy as np

from bertjax.corpus import word_hashes

# Bytes. Among a billion documents, two different ones share a hash of 64 bits
# with a probability of 3%, and one of them is then lost (birthday bound:
# n**2 / 2**65).
_HASH_BYTES = 8


def document_hash(text: str) -> int:
  """Returns 64 bits that texts of the same words, see `word_hashes`, share.

  So case, white space and punctuation do not count. A text without words, such
  as a ruled line, is hashed as it is.
  """
  digest = hashlib.blake2b(digest_size=_HASH_BYTES)
  empty = True
  for piece in word_hashes.pieces(text):
    words = ' '.join(word_hashes.split(piece))
    empty = empty and not words
    digest.update(_encode(words + ' ' * bool(words)))
  if empty:
    digest.update(_encode(' '.join(text.split())))
  return int.from_bytes(digest.digest(), 'little')


def paragraph_hashes(text: str) -> np.ndarray:
  """Returns uint64[lines]; of lines that differ in case or white space, one.

  Punctuation counts, unlike in whole documents: a line can be a single word.
  """
  lines = (' '.join(line.split()) for line in text.casefold().split('\n'))
  digests = (
    hashlib.blake2b(_encode(line), digest_size=_HASH_BYTES).digest()
    for line in lines
  )
  return np.frombuffer(b''.join(digests), np.uint64)


def repeats(hashes: np.ndarray) -> np.ndarray:
  """Returns bool[N]: whether the same hash stands further ahead.

  Args:
    hashes: uint64[N], in the order of the documents. 17 more bytes for each
      are needed.
  """
  order = np.argsort(hashes, kind='stable')
  ordered = hashes[order]
  found = np.zeros(len(hashes), bool)
  found[order[1:]] = ordered[1:] == ordered[:-1]
  return found


def _encode(text: str) -> bytes:
  return text.encode('utf-8', 'surrogatepass')
