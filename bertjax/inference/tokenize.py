"""Text to ids without TensorFlow, the same ids as in training.

    tokenizer = Tokenizer.load('runs/books')
    rows, cut = tokenizer.rows(['Hello, world!', 'a'], length=128)

Source: the Rust library `tokenizers`, as `bertjax.data.bert_tokenizer` has it.
"""

import os
from collections.abc import Sequence

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from bertjax import vocabulary_file


class Tokenizer:
  """A vocabulary and what splits text into its tokens.

  Attributes:
    tokens: token i at place i.
    cased: False where text is lower-cased and stripped of accents.
    ids: token -> id.
  """

  def __init__(self, tokens: Sequence[str], cased: bool):
    self.tokens = tuple(tokens)
    self.cased = cased
    self.ids = {token: i for i, token in enumerate(tokens)}
    self._plain = _pipeline(self.ids, cased)
    self._masked = _pipeline(self.ids, cased)
    self._masked.add_special_tokens(['[MASK]'])

  @classmethod
  def load(cls, directory: str) -> 'Tokenizer':
    """Reads vocab.txt of a run or of a Hugging Face directory.

    Raises:
      UserError: see `vocabulary_file.read`.
    """
    path = os.path.join(directory, 'vocab.txt')
    tokens = vocabulary_file.read(path)
    cased, _ = vocabulary_file.detect_cased(path, tokens)
    return cls(tokens, cased)

  def rows(
      self, texts: Sequence[str], length: int, masks: bool = False
  ) -> tuple[list[list[int]], int]:
    """Returns the ids of '[CLS] text [SEP]' for each, cut to `length`.

    Args:
      texts: any; an empty one gives [CLS] [SEP].
      length: the most ids of a row, special tokens included; at least 3.
      masks: whether '[MASK]' in a text is the special token; else, like every
        other word in brackets, it is text.

    Returns:
      the rows, and how many of them were cut.
    """
    tokenizer = self._masked if masks else self._plain
    cls, sep = self.ids['[CLS]'], self.ids['[SEP]']
    rows, cut = [], 0
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
      ids = encoding.ids
      cut += len(ids) > length - 2
      rows.append([cls, *ids[: length - 2], sep])
    return rows, cut


def _pipeline(ids: dict[str, int], cased: bool) -> tokenizers.Tokenizer:
  tokenizer = tokenizers.Tokenizer(models.WordPiece(
      ids, unk_token='[UNK]', max_input_chars_per_word=100))
  tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
  tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  return tokenizer
