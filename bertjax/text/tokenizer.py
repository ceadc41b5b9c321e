"""Turns text into ids without TensorFlow, the same ids as in training.

    >>> tokens = [*vocabulary_file.SPECIAL_TOKENS, 'hello', 'wor', '##ld', '!']
    >>> tokenizer = Tokenizer(tokens, cased=False)
    >>> rows = tokenizer.rows(['Hello world!', 'world'], length=6)
    >>> [(row.ids, cut) for row, cut in rows]
    [([2, 5, 6, 7, 8, 3], False), ([2, 6, 7, 3], False)]

Source: the Rust library `tokenizers`. `bertjax.corpus.bulk_tokenizer` is faster
on much text.
"""

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from bertjax.errors import UserError
from bertjax.text import byte_level, pairs, vocabulary_file
from bertjax.text.batching import Row
from bertjax.text.byte_level import Rules

_MASK = '[MASK]'


class Tokenizer:
  """A tokenizer with a vocabulary; its arguments are `Vocabulary.parts`.

  Attributes:
    tokens: the vocabulary in the order of the ids.
    cased: if False, text is lower-cased, and stripped of accents for WordPiece.
    rules: of byte-level BPE; None: this is BERT's tokenizer.
    ids: token -> id.
    special: role, one of `byte_level.ROLES` -> name of the token, '[CLS]'.
    separators: how many stand between two texts: 2 for RoBERTa's, else 1.
  """

  def __init__(
    self, tokens: Sequence[str], cased: bool, rules: Rules | None = None
  ):
    self.tokens = tuple(tokens)
    self.cased = cased
    self.rules = rules
    self.ids = {token: i for i, token in enumerate(tokens)}
    names: Sequence[str] = vocabulary_file.SPECIAL_TOKENS
    if rules is not None:
      names = byte_level.special_names(tokens)
    self.special = dict(zip(byte_level.ROLES, names, strict=True))
    self.separators = byte_level.separators(rules)
    if rules is None:
      self._plain = pipeline(self.ids, cased)
      self._masked = pipeline(self.ids, cased)
      self._masked.add_special_tokens([_MASK])
    else:
      self._plain = byte_level.build(tokens, cased, rules)
      self._masked = byte_level.build(tokens, cased, rules, names[-1:])

  @classmethod
  def load(cls, directory: str) -> 'Tokenizer':
    """Reads the vocabulary of a run or of a Hugging Face directory.

    Raises:
      UserError: see `vocabulary_file.load`.
    """
    path = os.path.join(directory, vocabulary_file.NAME)
    return cls(*vocabulary_file.load(path))

  @property
  def parts(self) -> tuple[Any, ...]:
    """What it was made of; see `Vocabulary.parts`."""
    rules = () if self.rules is None else (self.rules,)
    return self.tokens, self.cased, *rules

  def id_of(self, role: str) -> int:
    """Returns the id of a special token by its role, such as 'mask'."""
    return self.ids[self.special[role]]

  @functools.cached_property
  def shown(self) -> Sequence[str]:
    """The tokens as people read them; pieces within a word begin with '##'."""
    if self.rules is None:
      return self.tokens
    return byte_level.shown(self.tokens, byte_level.special_tokens(self.rules))

  def shown_row(self, ids: Sequence[int] | np.ndarray) -> list[str]:
    """Returns `shown` of a row, in which the first pieces begin words."""
    words = [self.shown[i] for i in ids]
    if self.rules is None:
      return words
    ends = self.special['cls'], self.special['sep']
    return [
      word.removeprefix('##') if before in ends else word
      for before, word in zip(['', *words], words, strict=False)
    ]

  def spell(self, ids: Sequence[int]) -> str:
    """Returns the text of ids; that of 'un', '##able' is 'unable'."""
    tokens = [self.tokens[i] for i in ids]
    if self.rules is not None:
      return byte_level.spell(tokens)
    return ' '.join(tokens).replace(' ##', '')

  def check_fits(self, rows: int, origin: str) -> None:
    """Raises UserError if an embedding table has fewer rows than tokens.

    Args:
      rows: of the table.
      origin: where table and vocabulary come from, for the message.
    """
    if len(self.tokens) > rows:
      raise UserError(
        f'{origin} has a vocabulary of {len(self.tokens)} entries and a '
        f'token table of {rows} rows; put the vocabulary there with which '
        'it was trained'
      )

  def pieces(
    self, texts: Sequence[str], masks: bool = False
  ) -> list[tokenizers.Encoding]:
    """Returns the `.ids` and `.offsets` (in characters) of each text.

    Args:
      texts: any; no special tokens are added.
      masks: whether '[MASK]' in a text is the special token, whatever its name;
        if not, it is text like every other word in brackets.
    """
    tokenizer = self._masked if masks else self._plain
    if masks and (name := self.special['mask']) != _MASK:
      texts = [text.replace(_MASK, name) for text in texts]
    return tokenizer.encode_batch(texts, add_special_tokens=False)

  def room(self, length: int, texts: int = 1) -> int:
    """Returns how many ids a row of one or two texts has beside special ones.

    >>> tokenizer = Tokenizer(vocabulary_file.SPECIAL_TOKENS, cased=False)
    >>> tokenizer.room(512), tokenizer.room(512, texts=2)
    (510, 509)
    """
    return length - 2 - self.separators * (texts - 1)

  def row(self, a: Sequence[int], b: Sequence[int] | None = None) -> Row:
    """Returns '[CLS] a [SEP]' or '[CLS] a [SEP] b [SEP]' from ids.

    RoBERTa's pair is '<s> a </s></s> b </s>'.
    """
    cls, sep = self.id_of('cls'), self.id_of('sep')
    if b is None:
      return Row([cls, *a, sep])
    head = [cls, *a, *[sep] * self.separators]
    return Row([*head, *b, sep], second=len(head))

  def rows(
    self,
    texts: Sequence[str | Sequence[str]],
    length: int,
    masks: bool = False,
  ) -> list[tuple[Row, bool]]:
    """Returns a row for each text or pair, and whether it was cut.

    A text that is too long loses its last tokens. A pair loses them from the
    longer text, see `pairs.fit`.

    Args:
      texts: texts and pairs of texts; an empty text gives [CLS] [SEP].
      length: the most ids of a row, special tokens included; at least 3, and 5
        for pairs, 6 with two separators.
      masks: see `pieces`.
    """
    parts = [(x,) if isinstance(x, str) else tuple(x) for x in texts]
    encodings = iter(self.pieces([x for part in parts for x in part], masks))
    rows = []
    for part in parts:
      ids = [next(encodings).ids for _ in part]
      room = self.room(length, len(ids))
      is_cut = sum(map(len, ids)) > room
      if is_cut:
        limits = pairs.fit(room, *map(len, ids))
        ids = [x[:limit] for x, limit in zip(ids, limits, strict=False)]
      rows.append((self.row(*ids), is_cut))
    return rows


def pipeline(ids: dict[str, int], cased: bool) -> tokenizers.Tokenizer:
  """`tokenizers.BertWordPieceTokenizer` without special tokens.

  It would find special tokens in the text, where they are just text.
  """
  tokenizer = tokenizers.Tokenizer(
    models.WordPiece(ids, unk_token='[UNK]', max_input_chars_per_word=100)
  )
  tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
  tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  return tokenizer
