"""BERT's tokenizer in Python and in TensorFlow graphs, with the same ids.

    tokenizer = BertTokenizer(tokens, cased=False)
    tokenizer.encode('Hello, world!')                  # list of int
    tokenizer.encode_lines(tf.constant(['a', 'b c']))  # int32 [2, None], ragged

Python calls the reference, the Rust library `tokenizers`, set up so that
'[MASK]' in a text is text. TensorFlow picks the fastest of three paths that is
exact for a line. Lines of plain characters go straight into a model that splits
words and finds pieces. Other lines first have their characters replaced by
table and their words split. If that is not enough either (marks whose order
matters: Balinese, Adlam, musical notation), the reference is called.
Source: Devlin et al. 2018, google-research/bert `tokenization.py`; Song et al.
2021 (arXiv:2012.15524) for the models.
"""

import functools
from collections.abc import Sequence

import numpy as np

from bertjax.data import numpy_calls
from bertjax.data.bert_characters import character_table, shared
from bertjax.data.quiet_tensorflow import tf, tf_text
from bertjax.text.tokenizer import Tokenizer

MAX_CHARACTERS = 100  # a longer word is [UNK]: BERT's `tokenization.py`
MAX_BYTES = 4 * MAX_CHARACTERS  # of a word of MAX_CHARACTERS in UTF-8

# Only ASCII letters form words here, so bytes are characters. The rest is ASCII
# white space (the model splits at no other), and punctuation and CJK of Unicode
# 1.1, each of which is a word of its own in every library.
PLAIN_LINE = r'[\t\n\r -~«»¿‐-‧‰-⁃⁅-⁑、-〃〈-】〔-〛\x{4e00}-\x{9fa5}]*'


class BertTokenizer:
  """Turns texts into ids of WordPiece pieces, without special tokens.

  One tokenizer serves any number of graphs, which share its models and tables.
  """

  def __init__(self, tokens: Sequence[str], cased: bool):
    """Takes distinct tokens in the order of their ids, '[UNK]' among them."""
    self._tokens = tokens
    self._cased = cased

  def encode(self, text: str) -> list[int]:
    """Returns the ids of one text."""
    return self._reference.pieces([text])[0].ids

  def encode_lines(self, lines: tf.Tensor) -> tf.RaggedTensor:
    """Returns the ids of many texts; one at a time takes 20 times as long.

    Args:
      lines: string[lines]; bytes that are not UTF-8 are skipped.

    Returns:
      ragged int32[lines, None]
    """
    plain = tf.strings.regex_full_match(lines, PLAIN_LINE)
    return tf.cond(
      tf.reduce_all(plain),
      lambda: self._encode_plain(lines),
      # Each line is empty in one of the two parts.
      lambda: tf.concat(
        [
          self._encode_plain(tf.where(plain, lines, '')),
          self._encode_any(tf.where(plain, '', lines)),
        ],
        axis=1,
      ),
    )

  def _encode_plain(self, lines: tf.Tensor) -> tf.RaggedTensor:
    """Encodes lines that match PLAIN_LINE."""
    if not self._cased:
      lines = tf.strings.lower(lines)  # ASCII letters only
    return self._text_model.tokenize(lines)

  def _encode_any(self, lines: tf.Tensor) -> tf.RaggedTensor:
    characters = tf.strings.unicode_decode(lines, 'UTF-8')
    movable = shared(character_table(self._cased).movable)
    return tf.cond(
      tf.reduce_any(tf.gather(movable, characters.values)),
      lambda: self._encode_by_reference(lines),
      lambda: self._encode_by_table(characters),
    )

  def _encode_by_table(self, characters: tf.RaggedTensor) -> tf.RaggedTensor:
    """Encodes int32[lines, None] code points without two movable in a line."""
    replaced = character_table(self._cased).look_up(characters.values)
    words = tf.strings.split(
      tf.strings.unicode_encode(_regroup(replaced, characters), 'UTF-8')
    )
    # The model counts bytes and BERT characters: replace a word of too many
    # characters by one of too many bytes.
    too_long = tf.strings.length(words.values, 'UTF8_CHAR') > MAX_CHARACTERS
    return _regroup(
      self._word_model.tokenize(
        tf.where(too_long, 'x' * (MAX_BYTES + 1), words.values)
      ),
      words,
    )

  def _encode_by_reference(self, lines: tf.Tensor) -> tf.RaggedTensor:
    outputs = {
      'values': tf.TensorSpec([None], tf.int32),
      'row_lengths': tf.TensorSpec(lines.shape, tf.int64),
    }
    return tf.RaggedTensor.from_row_lengths(
      **numpy_calls.call(self._encode_bytes, {'lines': lines}, outputs),
      validate=False,
    )

  def _encode_bytes(self, lines: np.ndarray) -> dict[str, np.ndarray]:
    texts = [line.decode('utf-8', 'replace') for line in lines]
    encodings = self._reference.pieces(texts)
    return {
      'values': np.array([i for e in encodings for i in e.ids], np.int32),
      'row_lengths': np.array([len(e.ids) for e in encodings], np.int64),
    }

  @functools.cached_property
  def _reference(self) -> Tokenizer:
    return Tokenizer(self._tokens, self._cased)

  @functools.cached_property
  def _text_model(self) -> tf_text.FastWordpieceTokenizer:
    return self._build_model(MAX_CHARACTERS, takes_words=False)

  @functools.cached_property
  def _word_model(self) -> tf_text.FastWordpieceTokenizer:
    return self._build_model(MAX_BYTES, takes_words=True)

  def _build_model(
    self, max_bytes: int, takes_words: bool
  ) -> tf_text.FastWordpieceTokenizer:
    # No word holds a space or a control character, but some of these break the
    # builder, and the model would match an entry across a space. The brackets
    # keep the stand-in from being matched.
    entries = [
      f'[no_word_{i}]' if any(c <= ' ' for c in token) else token
      for i, token in enumerate(self._tokens)
    ]
    with tf.init_scope():  # as in `shared`: graphs capture the model
      return tf_text.FastWordpieceTokenizer(
        vocab=entries,
        max_bytes_per_word=max_bytes,
        token_out_type=tf.int32,
        unknown_token='[UNK]',
        no_pretokenization=takes_words,
      )


def _regroup(
  parts: tf.RaggedTensor, wholes: tf.RaggedTensor
) -> tf.RaggedTensor:
  """Regroups [n, parts] by [lines, n] into [lines, parts]."""
  return tf.RaggedTensor.from_row_splits(
    parts.values, tf.gather(parts.row_splits, wholes.row_splits), validate=False
  )
