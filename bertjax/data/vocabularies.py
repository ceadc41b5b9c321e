"""A vocabulary for seqio, of WordPiece or of byte-level BPE.

vocabulary = vocabularies.BertVocabulary.read('vocab.txt')
vocabulary.encode('Hello, world!')               # list of int
vocabulary.encode_tf(tf.constant(['a', 'b c']))  # int32 [2, None], ragged
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertjax.corpus.bulk_tokenizer import BulkTokenizer
from bertjax.data import numpy_calls
from bertjax.data.quiet_tensorflow import seqio, tf
from bertjax.text import byte_level, vocabulary_file
from bertjax.text.byte_level import Rules
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary import Vocabulary


class BertVocabulary(Vocabulary, seqio.Vocabulary):
  """A `Vocabulary` that seqio takes, with its tokenizer.

  Ids are those of `tokenizers.BertWordPieceTokenizer(vocab, lowercase=not
  cased)`, or of the tokenizer.json of BPE, without special tokens, for any text
  in any language.
  Deviation: '[MASK]' or '[SEP]' in a text is text and never becomes the special
  token.
  """

  bos_id = eos_id = None  # BERT has neither
  pad_id = unk_id = 0  # properties in seqio's class, attributes here

  def __init__(
    self, tokens: Sequence[str], cased: bool, rules: Rules | None = None
  ):
    """Raises UserError if a special token is missing or a token comes twice."""
    seqio.Vocabulary.__init__(self)
    Vocabulary.__init__(self, tokens, cased, rules)
    self._tokenizer = Tokenizer(*self.parts)
    self._bulk = BulkTokenizer(self._tokenizer)
    self._lock = threading.Lock()  # tf.data calls from several threads

  @classmethod
  def read(cls, path: str) -> 'BertVocabulary':
    """Reads its file, see `vocabulary_file.load`."""
    return cls(*vocabulary_file.load(path))

  def __reduce__(self) -> tuple[Any, ...]:
    return BertVocabulary, self.parts

  @property
  def _base_vocab_size(self) -> int:
    return len(self.tokens)

  def _encode(self, s: str) -> list[int]:
    return self._tokenizer.pieces([s])[0].ids

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor | tf.RaggedTensor:
    """Maps string[] to int32[n], string[lines] to ragged int32[lines, None]."""
    texts = tf.convert_to_tensor(s, tf.string)
    if texts.shape.rank == 0:
      return self._encode_lines(texts[tf.newaxis]).values
    if texts.shape.rank != 1:
      raise ValueError(f'expected a string or [lines], got {texts.shape}')
    return self._encode_lines(texts)

  def _encode_lines(self, lines: tf.Tensor) -> tf.RaggedTensor:
    outputs = {
      'values': tf.TensorSpec([None], tf.int32),
      'row_lengths': tf.TensorSpec(lines.shape, tf.int64),
    }
    return tf.RaggedTensor.from_row_lengths(
      **numpy_calls.call(self._encode_bytes, {'lines': lines}, outputs),
      validate=False,
    )

  def _encode_bytes(self, lines: np.ndarray) -> dict[str, np.ndarray]:
    # NUL, which BERT leaves out, separates texts in the bulk tokenizer.
    texts = [x.decode('utf-8', 'ignore') for x in lines]
    if self.rules is not None:  # to which line ends are text
      ids = [np.array(x.ids) for x in self._tokenizer.pieces(texts)]
    else:
      with self._lock:
        texts = [x.replace('\0', '') for x in texts]
        ids = [ids for ids, _ in self._bulk.encode(texts)]
    return {
      'values': np.concatenate([*ids, []]).astype(np.int32),
      'row_lengths': np.array([*map(len, ids)], np.int64),
    }

  def _decode(self, ids: Sequence[int]) -> str:
    """Joins the ids of 'un', '##able' and '[SEP]' to 'unable [SEP]'."""
    return self._tokenizer.spell(ids)

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    """Does the same in TensorFlow: int32[..., n] to string[...]."""
    if self.rules is not None:
      parts = tf.constant([*map(byte_level.to_bytes, self.tokens)])
      joined = tf.strings.reduce_join(tf.gather(parts, ids), axis=-1)
      return tf.strings.regex_replace(joined, '^ ', '')
    words = tf.gather(tf.constant(self.tokens), ids)
    return tf.strings.regex_replace(
      tf.strings.reduce_join(words, axis=-1, separator=' '), ' ##', ''
    )
