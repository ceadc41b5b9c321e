"""seqio preprocessors: from documents to sentences, pairs and masked sequences.

    preprocessors = [
        functools.partial(preprocessors.tokenize, vocabulary=vocabulary),
        functools.partial(preprocessors.pair, vocabulary=vocabulary),
        functools.partial(preprocessors.mask, vocabulary=vocabulary, rate=0.15),
        preprocessors.unbatch,
    ]

They work on windows of documents, so that one call tokenizes hundreds of
sentences or masks hundreds of sequences (`tf.data` takes ten microseconds per
element and step, numpy a few per sequence). seqio gives each window a seed; a
sequence's seed is derived from it and the sequence's number in the window.
All of them are pure functions, so `tf.data` can save and restore its position.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from bertjax.batch import predictions_of
from bertjax.data import safe_iterators
from bertjax.text import hashing, masking, pairs

safe_iterators.protect_iterators()

# Without it TensorFlow spends seconds on reading the source of each function.
as_written = tf.autograph.experimental.do_not_convert

# Documents (pieces of at most 32 KB) that are paired and shuffled together.
WINDOW = 16

# English; a full stop after one of these does not end a sentence.
_ABBREVIATIONS = (
  'Mr|Mrs|Ms|Messrs|Mme|Dr|Prof|Rev|Hon|St|Sr|Jr|Gen|Col|Capt|Lieut|Lt|Sgt|'
  r'No|Nos|Vol|vol|Fig|fig|cf|Cf|vs|e\.g|i\.e|approx|ca|pp|ed|eds|Inc|Ltd|Co'
)
_KEPT_SPACE = '\x1f'


def split_sentences(text: tf.Tensor) -> tf.RaggedTensor:
  """Splits texts at line ends and after sentences.

  Before: ['One. Two said Mr. X.\\nThree']
  After:  [['One.', 'Two said Mr. X.', 'Three']]

  A sentence ends after . ! ? … and closing quotes if white space and anything
  but a lower-case letter follow, except after common abbreviations and
  initials; and after 。！？ anywhere.

  Args:
    text: string[W].

  Returns:
    string[W, (sentences)], without blank ones.
  """
  replace = tf.strings.regex_replace
  text = replace(
    text, rf'\b({_ABBREVIATIONS}|\p{{Lu}})\.[ \t]+', rf'\1.{_KEPT_SPACE}'
  )
  text = replace(
    text, r"""([.!?…؟।]["')\]”’»]*)[ \t]+([^\p{Ll}\s])""", '\\1\n\\2'
  )
  text = replace(text, '([。！？][」』”’）]*)', '\\1\n')
  text = replace(text, _KEPT_SPACE, ' ')
  sentences = tf.strings.split(text, '\n')
  blank = tf.strings.regex_full_match(sentences.flat_values, r'\s*')
  return tf.ragged.boolean_mask(sentences, sentences.with_values(~blank))


@as_written
def tokenize(
  dataset: tf.data.Dataset, vocabulary: seqio.Vocabulary, window: int = WINDOW
) -> tf.data.Dataset:
  """Gathers documents into windows and tokenizes their sentences.

  Before: {document: int64[], text: string[]}, a document or piece of one
  After:  {document: int64[W], tokens: int32[T] of all sentences,
           sentence_lengths: int64[n], sentence_counts: int64[W]}

  Args:
    dataset: of documents.
    window: W, documents per window.
  """
  return dataset.batch(window).map(
    _tokenizer(vocabulary), num_parallel_calls=tf.data.AUTOTUNE
  )


@functools.cache
def _tokenizer(
  vocabulary: seqio.Vocabulary,
) -> Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
  """Returns `tokenize` for one window, traced once for all streams.

  With its tables of characters and pieces it is by far the largest graph.
  """

  @tf.function(
    input_signature=[tf.TensorSpec([None], tf.string)],
    jit_compile=False,
    autograph=False,
  )
  def tokenize_texts(text):
    sentences = split_sentences(text)
    tokens = vocabulary.encode_tf(sentences.flat_values)
    return (
      tf.cast(tokens.flat_values, tf.int32),
      tokens.row_lengths(),
      sentences.row_lengths(),
    )

  def tokenize_window(window):
    names = ('tokens', 'sentence_lengths', 'sentence_counts')
    values = tokenize_texts(window['text'])
    return {
      'document': window['document'],
      **dict(zip(names, values, strict=True)),
    }

  return tokenize_window


@as_written
def pair(
  dataset: tf.data.Dataset,
  sequence_length: Mapping[str, int],
  vocabulary: seqio.Vocabulary,
  next_sentence: bool = True,
  short: float = pairs.SHORT_SEQUENCES,
  shuffle: bool = True,
) -> tf.data.Dataset:
  """Builds the sequences of each window, see `pairs.build`.

  Before: the output of `tokenize`
  After:  {tokens types segments: int32[E, L], pair_labels: int32[E],
           pair_weights: float32[E], seeds: uint64[E]}, E sequences

  Args:
    dataset: of windows.
    sequence_length: seqio's; 'tokens' is L.
    vocabulary: for the ids of [CLS] and [SEP].
    next_sentence: whether to build pairs with a label; else single segments,
      with pair weight 0.
    short: probability of a shorter target length.
    shuffle: whether to order the window's sequences at random.
  """
  length = sequence_length['tokens']

  def build(document, tokens, sentence_lengths, sentence_counts, seed):
    rng = np.random.default_rng(seed.astype(np.uint32))
    documents = _documents(
      document, tokens, sentence_lengths, sentence_counts, length // 2
    )
    built = pairs.build(documents, length, next_sentence, rng, short)
    if shuffle:
      built = [built[i] for i in rng.permutation(len(built))]
    seeds = hashing.mix(
      *seed.astype(np.uint32), np.arange(len(built), dtype=np.uint64)
    )
    return *_rows(built, length, vocabulary.cls_id, vocabulary.sep_id), seeds

  @seqio.map_over_dataset(num_seeds=1)
  def pair_window(window, seed):
    names = ('tokens', 'types', 'segments', 'pair_labels', 'seeds')
    arrays = tf.numpy_function(
      build,
      [
        window['document'],
        window['tokens'],
        window['sentence_lengths'],
        window['sentence_counts'],
        seed,
      ],
      [tf.int32, tf.int32, tf.int32, tf.int32, tf.uint64],
    )
    examples = dict(zip(names, arrays, strict=True))
    for name in ('tokens', 'types', 'segments'):
      examples[name] = tf.ensure_shape(examples[name], [None, length])
    for name in ('pair_labels', 'seeds'):
      examples[name] = tf.ensure_shape(examples[name], [None])
    examples['pair_weights'] = tf.fill(
      tf.shape(examples['pair_labels']), float(next_sentence)
    )
    return examples

  return pair_window(dataset)


def _documents(
  identities: np.ndarray,
  tokens: np.ndarray,
  sentence_lengths: np.ndarray,
  sentence_counts: np.ndarray,
  longest: int,
) -> list[pairs.Document]:
  """Returns the non-empty documents of a window.

  Args:
    identities: int64[W], as the other arrays from `tokenize`.
    longest: tokens; longer sentences are split.
  """
  ends = np.cumsum(sentence_lengths)
  sentence, token, documents = 0, 0, []
  for identity, count in zip(identities, sentence_counts, strict=True):
    own = ends[sentence : sentence + count] - token
    sentence += count
    if len(own) and own[-1]:
      documents.append(
        pairs.Document(
          int(identity),
          tokens[token : token + own[-1]],
          pairs.split_long_sentences(own, longest),
        )
      )
      token += own[-1]
  return documents


def _rows(
  built: Sequence[pairs.Pair], length: int, cls_id: int, sep_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Lays out [CLS] A [SEP] B [SEP].

  Args:
    built: from `pairs.build`.

  Returns:
    tokens, types and segments: int32[E, L]; labels: int32[E].
  """
  tokens = np.zeros((len(built), length), np.int32)
  types, segments = np.zeros_like(tokens), np.zeros_like(tokens)
  for row, (a, b, _) in enumerate(built):
    second = () if b is None else (b, [sep_id])
    sequence = np.concatenate(([cls_id], a, [sep_id], *second))
    tokens[row, : len(sequence)] = sequence
    types[row, len(a) + 2 : len(sequence)] = 1
    segments[row, : len(sequence)] = 1
  return tokens, types, segments, np.array([x[2] for x in built], np.int32)


@as_written
def mask(
  dataset: tf.data.Dataset,
  sequence_length: Mapping[str, int],
  vocabulary: seqio.Vocabulary,
  rate: float = 0.15,
  unit: str = 'token',
) -> tf.data.Dataset:
  """Masks the sequences of each window, see `masking.mask`.

  Before: {tokens segments: int32[E, L], seeds: uint64[E], ...}
  After:  the same with masked tokens, without seeds, and with target_positions
          targets: int32[E, P] and weights: float32[E, P]

  Args:
    dataset: of windows.
    sequence_length: seqio's; 'tokens' is L, 'targets' is P. Without 'targets'
      P follows from `rate`.
    vocabulary: see `masking.mask`.
    rate: share of the tokens that are targets.
    unit: one of `masking.UNITS`.
  """
  length = sequence_length['tokens']
  predictions = sequence_length.get('targets') or predictions_of(length, rate)
  dtypes = {
    'tokens': (tf.int32, length),
    'target_positions': (tf.int32, predictions),
    'targets': (tf.int32, predictions),
    'weights': (tf.float32, predictions),
  }

  def mask_rows(tokens, segments, seeds):
    masked = masking.mask(
      tokens, segments, seeds, vocabulary, rate, unit, predictions
    )
    return [masked[name] for name in dtypes]

  def mask_window(window):
    arrays = tf.numpy_function(
      mask_rows,
      [window['tokens'], window['segments'], window['seeds']],
      [dtype for dtype, _ in dtypes.values()],
    )
    masked = {
      name: tf.ensure_shape(array, [None, size])
      for array, (name, (_, size)) in zip(arrays, dtypes.items(), strict=True)
    }
    kept = {k: v for k, v in window.items() if k != 'seeds'}
    return kept | masked

  return dataset.map(mask_window, num_parallel_calls=tf.data.AUTOTUNE)


def unbatch(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Turns windows into examples: {tokens: [E, L]} into E of {tokens: [L]}."""
  return dataset.unbatch()


def masked_language_model(
  vocabulary: seqio.Vocabulary,
  next_sentence: bool,
  rate: float,
  unit: str,
  short: float = pairs.SHORT_SEQUENCES,
) -> list[Callable[..., tf.data.Dataset]]:
  """Returns the preprocessors of BERT's pretraining, in order."""
  return [
    functools.partial(tokenize, vocabulary=vocabulary),
    functools.partial(
      pair, vocabulary=vocabulary, next_sentence=next_sentence, short=short
    ),
    functools.partial(mask, vocabulary=vocabulary, rate=rate, unit=unit),
    unbatch,
  ]
