"""A WordPiece vocabulary, with what pairing and masking need to know of it.

>>> tokens = [*vocabulary_file.SPECIAL_TOKENS, 'walk', '##ing']
>>> vocabulary = Vocabulary(tokens, cased=False)
>>> vocabulary.cls_id, vocabulary.continuation.nonzero()[0].tolist()
(2, [6])
"""

from collections.abc import Sequence

import numpy as np

from bertjax.errors import UserError
from bertjax.text import vocabulary_file
from bertjax.text.vocabulary_file import SPECIAL_TOKENS


class Vocabulary:
  """Tokens and their kinds; compared and hashed by content.

  Attributes:
    tokens: tuple of str, in the order of their ids.
    cased: False if text is lower-cased and stripped of accents.
    continuation: bool[V], True for a piece that continues a word ('##ing').
    special: bool[V], True for [PAD] [UNK] [CLS] [SEP] [MASK].
    replacements: int32[R], ids that may stand in for a masked token: neither
      special nor '[unusedN]'.
    pad_id, unk_id, cls_id, sep_id, mask_id: ids of special tokens.
  """

  continuation: np.ndarray
  special: np.ndarray
  replacements: np.ndarray
  pad_id: int
  unk_id: int
  cls_id: int
  sep_id: int
  mask_id: int

  def __init__(self, tokens: Sequence[str], cased: bool):
    """Raises UserError if a special token is missing or a token comes twice."""
    vocabulary_file.check(tokens, 'the vocabulary')
    self.tokens = tuple(tokens)
    self.cased = cased
    self.continuation = np.array([t.startswith('##') for t in tokens])
    self.special = np.array([t in SPECIAL_TOKENS for t in tokens])
    unused = np.array([t.startswith('[unused') for t in tokens])
    self.replacements = np.flatnonzero(~self.special & ~unused).astype(np.int32)
    if not len(self.replacements):
      raise UserError(
        'expected words, got a vocabulary of special tokens only; set '
        'VOCAB_FILE'
      )
    ids = map(self.tokens.index, SPECIAL_TOKENS)
    self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = ids

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Vocabulary) and (
      (self.tokens, self.cased) == (other.tokens, other.cased)
    )

  def __hash__(self) -> int:
    return hash((self.tokens, self.cased))

  def __repr__(self) -> str:
    return (
      f'{type(self).__name__}({len(self.tokens)} tokens, cased={self.cased})'
    )
