"""seqio preprocessors: from documents to sentences, pairs and masked sequences.

    preprocessors = [
        preprocessors.tokenize,
        functools.partial(preprocessors.pair, next_sentence=False),
        functools.partial(preprocessors.mask, rate=0.15),
        tf.data.Dataset.unbatch,
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

from bertjax.batch import predictions_of
from bertjax.data import numpy_calls
from bertjax.data.quiet_tensorflow import seqio, tf
from bertjax.errors import expect
from bertjax.text import hashing, masking, pairs

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
  dataset: tf.data.Dataset, output_features: Mapping[str, seqio.Feature]
) -> tf.data.Dataset:
  """Gathers documents into windows and tokenizes their sentences.

  Before: {document: int64[], text: string[]}, a document or piece of one
  After:  {document: int64[W], tokens: int32[T] of all sentences,
           sentence_lengths: int64[n], sentence_counts: int64[W]}

  Args:
    dataset: of documents.
    output_features: seqio's; 'tokens' has the vocabulary.
  """
  tokenizer = _tokenizer(output_features['tokens'].vocabulary)
  return dataset.batch(WINDOW).map(
    tokenizer, num_parallel_calls=tf.data.AUTOTUNE
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
    return {
      'tokens': tf.cast(tokens.flat_values, tf.int32),
      'sentence_lengths': tokens.row_lengths(),
      'sentence_counts': sentences.row_lengths(),
    }

  return lambda window: {
    'document': window['document'],
    **tokenize_texts(window['text']),
  }


@as_written
def pair(
  dataset: tf.data.Dataset,
  sequence_length: Mapping[str, int],
  output_features: Mapping[str, seqio.Feature],
  next_sentence: bool = True,
  short: float = pairs.SHORT_SEQUENCES,
) -> tf.data.Dataset:
  """Builds the sequences of each window, see `pairs.build`, in random order.

  Before: the output of `tokenize`
  After:  {tokens types segments: int32[E, L], pair_labels: int32[E],
           pair_weights: float32[E], seeds: uint64[E]}, E sequences

  Args:
    dataset: of windows.
    sequence_length: seqio's; 'tokens' is L.
    output_features: seqio's; 'tokens' has the vocabulary.
    next_sentence: whether to build pairs with a label; else single segments,
      with pair weight 0.
    short: probability of a shorter target length.
  """
  length = sequence_length['tokens']
  least = 5 if next_sentence else 3
  room = f'{least} or more, for [CLS] and a token and [SEP] a segment'
  expect(length >= least, room, length, 'LENGTH')
  vocabulary = output_features['tokens'].vocabulary
  outputs = {
    **dict.fromkeys(
      ('tokens', 'types', 'segments'), tf.TensorSpec([None, length], tf.int32)
    ),
    'pair_labels': tf.TensorSpec([None], tf.int32),
    'pair_weights': tf.TensorSpec([None], tf.float32),
    'seeds': tf.TensorSpec([None], tf.uint64),
  }

  def build(seed, **window):
    rng = np.random.default_rng(seed.astype(np.uint32))
    documents = _documents(longest=length // 2, **window)
    built = pairs.build(documents, length, next_sentence, rng, short)
    built = [built[i] for i in rng.permutation(len(built))]
    return {
      **_rows(built, length, vocabulary.cls_id, vocabulary.sep_id),
      'pair_weights': np.full(len(built), next_sentence, np.float32),
      'seeds': hashing.mix(
        *seed.astype(np.uint32), np.arange(len(built), dtype=np.uint64)
      ),
    }

  @seqio.map_over_dataset(num_seeds=1)
  def pair_window(window, seed):
    return numpy_calls.call(build, {**window, 'seed': seed}, outputs)

  return pair_window(dataset)


def cut_share(
  windows: Sequence[Mapping[str, np.ndarray]], length: int
) -> float:
  """Returns the share of pairs that are one sentence, cut in two.

  Args:
    windows: what `tokenize` gives.
    length: L.
  """
  rng = np.random.default_rng(0)
  documents = (_documents(longest=length // 2, **x) for x in windows)
  found = [x for some in documents for x in pairs.cuts(some, length, rng)]
  return float(np.mean(found or [False]))


def _documents(
  document: np.ndarray,
  tokens: np.ndarray,
  sentence_lengths: np.ndarray,
  sentence_counts: np.ndarray,
  longest: int,
) -> list[pairs.Document]:
  """Returns the non-empty documents of a window.

  Args:
    document: int64[W], as the other arrays from `tokenize`.
    longest: tokens; longer sentences are split.
  """
  lengths = np.split(sentence_lengths, np.cumsum(sentence_counts)[:-1])
  ends = [np.cumsum(own) for own in lengths]
  sizes = [own[-1] if len(own) else 0 for own in ends]
  parts = np.split(tokens, np.cumsum(sizes)[:-1])
  return [
    pairs.Document(
      int(identity), part, pairs.split_long_sentences(own, longest)
    )
    for identity, part, own in zip(document, parts, ends, strict=True)
    if len(part)
  ]


def _rows(
  built: Sequence[pairs.Pair], length: int, cls_id: int, sep_id: int
) -> dict[str, np.ndarray]:
  """Lays out [CLS] A [SEP] B [SEP].

  Args:
    built: from `pairs.build`.

  Returns:
    tokens, types and segments: int32[E, L]; pair_labels: int32[E].
  """
  tokens = np.zeros((len(built), length), np.int32)
  types, segments = np.zeros_like(tokens), np.zeros_like(tokens)
  for row, (a, b, _) in enumerate(built):
    second = () if b is None else (b, [sep_id])
    sequence = np.concatenate(([cls_id], a, [sep_id], *second))
    tokens[row, : len(sequence)] = sequence
    types[row, len(a) + 2 : len(sequence)] = 1
    segments[row, : len(sequence)] = 1
  return {
    'tokens': tokens,
    'types': types,
    'segments': segments,
    'pair_labels': np.array([label for _, _, label in built], np.int32),
  }


@as_written
def mask(
  dataset: tf.data.Dataset,
  sequence_length: Mapping[str, int],
  output_features: Mapping[str, seqio.Feature],
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
    output_features: seqio's; 'tokens' has the vocabulary.
    rate: share of the tokens that are targets.
    unit: one of `masking.UNITS`.
  """
  length = sequence_length['tokens']
  predictions = sequence_length.get('targets') or predictions_of(length, rate)
  vocabulary = output_features['tokens'].vocabulary
  outputs = {
    'tokens': tf.TensorSpec([None, length], tf.int32),
    'target_positions': tf.TensorSpec([None, predictions], tf.int32),
    'targets': tf.TensorSpec([None, predictions], tf.int32),
    'weights': tf.TensorSpec([None, predictions], tf.float32),
  }

  def mask_rows(tokens, segments, seeds):
    return masking.mask(
      tokens, segments, seeds, vocabulary, rate, unit, predictions
    )

  def mask_window(window):
    rows = {key: window[key] for key in ('tokens', 'segments', 'seeds')}
    masked = window | numpy_calls.call(mask_rows, rows, outputs)
    return {key: array for key, array in masked.items() if key != 'seeds'}

  return dataset.map(mask_window, num_parallel_calls=tf.data.AUTOTUNE)
