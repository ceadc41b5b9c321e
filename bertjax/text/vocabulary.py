"""A vocabulary, with what pairing and masking need to know of it.

>>> tokens = [*vocabulary_file.SPECIAL_TOKENS, 'walk', '##ing']
>>> vocabulary = Vocabulary(tokens, cased=False)
>>> vocabulary.cls_id, vocabulary.continuation.nonzero()[0].tolist()
(2, [6])
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.text import byte_level, vocabulary_file
from bertjax.text.byte_level import Rules
from bertjax.text.vocabulary_file import SPECIAL_TOKENS


class Vocabulary:
  """Tokens and their kinds; compared and hashed by content.

  Attributes:
    tokens: tuple of str, in the order of their ids.
    cased: False if text is lower-cased, and stripped of accents for WordPiece.
    rules: of byte-level BPE, see `byte_level`; None: this is WordPiece.
    continuation: bool[V], True for a piece that continues a word: '##ing', or
      of BPE whatever is not special and does not begin with a space.
    special: bool[V], True for [PAD] [UNK] [CLS] [SEP] [MASK], and for what else
      BPE finds in no text.
    replacements: int32[R], ids that may stand in for a masked token: neither
      special nor '[unusedN]'.
    pad_id, unk_id, cls_id, sep_id, mask_id: ids of special tokens.
    separators: how many stand between two texts: 2 for RoBERTa's, else 1.
  """

  continuation: np.ndarray
  special: np.ndarray
  replacements: np.ndarray
  pad_id: int
  unk_id: int
  cls_id: int
  sep_id: int
  mask_id: int

  def __init__(
    self, tokens: Sequence[str], cased: bool, rules: Rules | None = None
  ):
    """Raises UserError if a special token is missing or a token comes twice."""
    names: Sequence[str] = SPECIAL_TOKENS
    if rules is not None:
      names = byte_level.special_names(tokens)
    vocabulary_file.check(tokens, 'the vocabulary', names)
    self.tokens = tuple(tokens)
    self.cased = cased
    self.rules = rules
    self.separators = byte_level.separators(rules)
    of_rules = [] if rules is None else byte_level.special_tokens(rules)
    known = {*names, *of_rules}
    self.special = np.array([t in known for t in tokens])
    if rules is None:
      self.continuation = np.array([t.startswith('##') for t in tokens])
    else:
      begins = np.array([t.startswith(byte_level.SPACE) for t in tokens])
      self.continuation = ~begins & ~self.special
    unused = np.array([t.startswith('[unused') for t in tokens])
    self.replacements = np.flatnonzero(~self.special & ~unused).astype(np.int32)
    if not len(self.replacements):
      raise UserError(
        'expected words, got a vocabulary of special tokens only; set '
        'VOCAB_FILE'
      )
    ids = map(self.tokens.index, names)
    self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = ids

  @property
  def parts(self) -> tuple[Any, ...]:
    """What it was made of, as `vocabulary_file.load` returns it."""
    rules = () if self.rules is None else (self.rules,)
    return self.tokens, self.cased, *rules

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Vocabulary) and self.parts == other.parts

  def __hash__(self) -> int:
    return hash(self.parts)

  def __repr__(self) -> str:
    return (
      f'{type(self).__name__}({len(self.tokens)} tokens, cased={self.cased})'
    )
