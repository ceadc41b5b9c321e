"""Trains BERT's WordPiece vocabulary and gives it to seqio.

    tokens = vocabularies.train(texts, size=8000, cased=False)
    vocabulary_file.write(tokens, 'vocab.txt', cased=False)
    vocabulary = vocabularies.BertVocabulary.read('vocab.txt')
    vocabulary.encode('Hello, world!')               # list of int
    vocabulary.encode_tf(tf.constant(['a', 'b c']))  # int32 [2, None], ragged

Source: Devlin et al. 2018, section 3; the file format of google-research/bert.
"""

import collections
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from tokenizers import pre_tokenizers, trainers

from bertjax.data.bert_tokenizer import MAX_CHARACTERS, BertTokenizer
from bertjax.data.quiet_tensorflow import seqio, tf
from bertjax.errors import UserError
from bertjax.text import vocabulary_file
from bertjax.text.tokenizer import pipeline
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

MAX_ALPHABET = 1000  # as in `tokenizers` for BERT; rarer characters are [UNK]


class BertVocabulary(seqio.Vocabulary):
  """Tokens, their ids, and a tokenizer; compared and hashed by content.

  Ids are those of `tokenizers.BertWordPieceTokenizer(vocab, lowercase=not
  cased)` without its special tokens, for any text in any language.
  Deviation: '[MASK]' or '[SEP]' in a text is text and never becomes the special
  token.

  Attributes:
    tokens: tuple of str, in the order of their ids.
    cased: False if text is lower-cased and stripped of accents.
    continuation: bool[V], True for a piece that continues a word ('##ing').
    special: bool[V], True for [PAD] [UNK] [CLS] [SEP] [MASK].
    replacements: int32[R], ids that may stand in for a masked token: neither
      special nor '[unusedN]'.
    pad_id, unk_id, cls_id, sep_id, mask_id: ids of special tokens.
  """

  bos_id = eos_id = None  # BERT has neither
  pad_id = unk_id = 0  # properties in seqio's class, attributes here

  def __init__(self, tokens: Sequence[str], cased: bool):
    """Raises UserError if a special token is missing or a token comes twice."""
    super().__init__()
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
    self._tokenizer = BertTokenizer(self.tokens, cased)
    ids = map(self.tokens.index, SPECIAL_TOKENS)
    self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = ids

  @classmethod
  def read(cls, path: str) -> 'BertVocabulary':
    """Reads a `vocab.txt`, see `vocabulary_file.load`."""
    return cls(*vocabulary_file.load(path))

  @property
  def _base_vocab_size(self) -> int:
    return len(self.tokens)

  def __eq__(self, other: object) -> bool:
    return isinstance(other, BertVocabulary) and (
      (self.tokens, self.cased) == (other.tokens, other.cased)
    )

  def __hash__(self) -> int:
    return hash((self.tokens, self.cased))

  def __repr__(self) -> str:
    return f'BertVocabulary({len(self.tokens)} tokens, cased={self.cased})'

  def _encode(self, s: str) -> list[int]:
    return self._tokenizer.encode(s)

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor | tf.RaggedTensor:
    """Maps string[] to int32[n], string[lines] to ragged int32[lines, None]."""
    texts = tf.convert_to_tensor(s, tf.string)
    if texts.shape.rank == 0:
      return self._tokenizer.encode_lines(texts[tf.newaxis]).values
    if texts.shape.rank != 1:
      raise ValueError(f'expected a string or [lines], got {texts.shape}')
    return self._tokenizer.encode_lines(texts)

  def _decode(self, ids: Sequence[int]) -> str:
    """Joins the ids of 'un', '##able' and '[SEP]' to 'unable [SEP]'."""
    return ' '.join(self.tokens[i] for i in ids).replace(' ##', '')

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    """Does the same in TensorFlow: int32[..., n] to string[...]."""
    words = tf.gather(tf.constant(self.tokens), ids)
    return tf.strings.regex_replace(
      tf.strings.reduce_join(words, axis=-1, separator=' '), ' ##', ''
    )


def train(
  texts: Iterable[str], size: int, cased: bool, min_frequency: int = 2
) -> list[str]:
  """Trains a vocabulary; the same texts always give the same one.

  Reads the texts once and keeps each distinct word in memory.

  Args:
    texts: lines or documents.
    size: number of tokens; if the texts yield fewer, the rest is '[unused0]'
      and so on.
    cased: False lower-cases and strips accents first.
    min_frequency: how often a character, or a pair of pieces, must occur.

  Returns:
    `size` distinct tokens: the special ones, single characters, pieces.

  Raises:
    UserError: the texts have no words, or more different characters than
      `size` holds.
  """
  counts = _count_words(texts, cased)
  counts, alphabet = _limit_alphabet(counts, min_frequency)
  if not alphabet:
    raise UserError(
      'expected texts to train a vocabulary on, but they hold no words; '
      'set TEXT_FILES'
    )
  # The library's hash map is seeded at random. Given the alphabet, neither ids
  # nor ties depend on the order in which it yields the words.
  first = [*SPECIAL_TOKENS, *alphabet]
  if size < len(first):
    raise UserError(
      f'{size} tokens cannot hold the {len(first)} special tokens and single '
      f'characters of the texts; set VOCAB_SIZE to {len(first)} or more'
    )
  tokenizer = pipeline({}, cased)
  tokenizer.normalizer = None
  tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  tokenizer.train_from_iterator(
    _repeat(counts),
    trainers.WordPieceTrainer(
      vocab_size=size,
      min_frequency=min_frequency,
      special_tokens=first,
      show_progress=False,
    ),
  )
  ids = tokenizer.get_vocab()
  tokens = sorted(ids, key=ids.__getitem__)
  if len(tokens) < size:
    print(
      f'warning: the text yields {len(tokens):,} tokens, so the rest of '
      f'VOCAB_SIZE {size:,} is never used; set it to {len(tokens)}',
      flush=True,
    )
  return tokens + [f'[unused{i}]' for i in range(size - len(tokens))]


def _count_words(texts: Iterable[str], cased: bool) -> dict[str, int]:
  """Returns normalized word -> how often it occurs; the library counts."""
  trainer = trainers.WordPieceTrainer(vocab_size=0, show_progress=False)
  pipeline({}, cased).train_from_iterator(texts, trainer)
  # The library exposes its counts only in the state that it gives for pickling.
  state = json.loads(trainer.__getstate__())
  return state['WordPieceTrainer']['bpe_trainer']['words']


def _limit_alphabet(
  counts: dict[str, int], min_frequency: int
) -> tuple[dict[str, int], list[str]]:
  """Returns the words without rare characters, sorted, and their alphabet.

  {'is': 2, 'it': 2} has the alphabet ['i', 's', 't', '##s', '##t'].
  """
  characters: collections.Counter[str] = collections.Counter()
  for word, count in counts.items():
    for character in word:
      characters[character] += count
  ranked = sorted(characters, key=lambda c: (-characters[c], c))[:MAX_ALPHABET]
  known = {c for c in ranked if characters[c] >= min_frequency}
  counts = {
    word: count
    for word, count in sorted(counts.items())
    if len(word) <= MAX_CHARACTERS and known.issuperset(word)
  }
  continuing = {'##' + c for word in counts for c in word[1:]}
  return counts, sorted(known) + sorted(continuing)


def _repeat(counts: dict[str, int], most: int = 1000) -> Iterator[str]:
  """Yields each word as often as it counts, at most `most` times in a string.

  {'a': 1001, 'b': 1} gives 'a a ... a' with 1000 words, 'a', 'b'.
  """
  for word, count in counts.items():
    for done in range(0, count, most):
      yield ' '.join([word] * min(most, count - done))
