"""Rows of a corpus, by windows of documents; a pure function of numbers.

    split = prepared.split('train')
    windows = Windows(split, prepared.vocabulary, Form(128, 20), seed=0)
    rows = windows.rows(7)     # {'tokens': int32[E, 128], ...}, a batch of E

Window w of epoch e has the number e * len(windows) + w. Its documents (pieces
of at most 32 KB) are those at places of a random permutation of the whole split
that is computed, not stored; they are paired among themselves, masked, perhaps
disturbed in other ways, and perhaps packed together. So nothing is buffered,
any window can be computed first, and what it holds does not depend on the
machine, the process or what was computed before.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertjax import batch
from bertjax.batch import MaskRates, Rates
from bertjax.corpus import shards
from bertjax.errors import choose, expect
from bertjax.text import batching, hashing, masking, noises, packing, pairs
from bertjax.text.vocabulary import Vocabulary
from bertjax.values import Count, Natural, Rate, check_fields

# Rows that a window should give at least, where there is as much text: packed
# together, Wikipedia's pairs at 512 tokens fill 97.7% of the slots with 64
# rows, 98.7% with 256, 99.0% with 512 (experiments/LOG.md).
_ROWS = 256
# Pieces of a window: most, where they are short, and fewest, so that a random
# second half has documents to come from.
MOST_PIECES, FEWEST_PIECES = 1 << 14, 4
# Coordinates of the hash, so that no two decisions share random bits.
_ORDER, _PAIRS, _MASKS, _NOISE = range(4)


@dataclasses.dataclass(frozen=True)
class Form:
  """What rows of text are like.

  Attributes:
    length: L, tokens of a row.
    predictions: P, the most targets of a row.
    sequences: S, the most sequences in a row; above 1 they are packed.
    next_sentence: whether to train on pairs with a label; else on single
      segments, with pair weight 0.
    short: probability of a sequence shorter than L.
    mask_rate: share of the tokens that are masked; or (lowest, highest), and
      each sequence draws its own; 0: none are, for noise alone.
    mask_unit: 'token', 'word' or 'span'.
    pair_kind: 'nsp', 'sop' or 'same_document'.
    noise: beside the masks, a key of `noises.NOISES`; None: no noise.
    noise_rate: like `mask_rate`, see `noises`; None: the usual one.
  """

  length: Count
  predictions: Natural
  sequences: Count = 1
  next_sentence: bool = True
  short: Rate = pairs.SHORT_SEQUENCES
  mask_rate: MaskRates = 0.15
  mask_unit: masking.Unit = 'token'
  pair_kind: str = 'nsp'
  noise: str | None = None
  noise_rate: Rates | None = None

  def __post_init__(self) -> None:
    """Raises UserError if what is asked for does not go together."""
    check_fields(self)
    batch.check_rate(self.mask_rate, 'MASK_RATE')
    choose(masking.UNITS, self.mask_unit, 'MASK_UNIT')
    choose(pairs.PAIRS, self.pair_kind, 'PAIRS')
    is_meant = self.next_sentence or self.pair_kind == 'nsp'
    what = f'NSP=True, for PAIRS={self.pair_kind}'
    expect(is_meant, what, self.next_sentence, 'NSP, or PAIRS')
    noises.check(self.noise, self.noise_rate)
    is_any = self.noise is not None or batch.bounds_of(self.mask_rate)[1] > 0
    what = 'a rate above 0, for there is no NOISE to learn from'
    expect(is_any, what, self.mask_rate, 'MASK_RATE, or NOISE')
    least = 5 if self.next_sentence else 3
    room = f'{least} or more, for [CLS] and a token and [SEP] a segment'
    if self.text_length < self.length:
      room += f', beside what {self.noise} adds'
    expect(self.text_length >= least, room, self.length, 'LENGTH')
    of_predictions = 'MASK_RATE or NOISE_RATE, which they follow from'
    most = f'at most {self.length} predictions, the length of a row'
    fits = self.predictions <= self.length
    expect(fits, most, self.predictions, of_predictions)
    more = self.most_targets
    what = f'more than {more} predictions, those of {self.noise} alone'
    enough = not more or self.predictions > more
    expect(enough, what, self.predictions, of_predictions)

  @property
  def text_length(self) -> int:
    """Tokens of a row before noise inserts some."""
    return noises.text_length(self.length, self.noise, self.noise_rate)

  @property
  def most_targets(self) -> int:
    """Targets of a row for noise, beside the masks."""
    return noises.most_targets(self.length, self.noise, self.noise_rate)


def form_of(
  length: int, predictions: int, fields: Mapping[str, Any], where: str
) -> Form:
  """Returns a form with some fields that were given by name.

  Args:
    length: L.
    predictions: P.
    fields: the others.
    where: they were given, for the message.

  Raises:
    UserError: there is no such field, or they do not go together.
  """
  others = [x.name for x in dataclasses.fields(Form)][2:]
  for name in fields:
    choose(dict.fromkeys(others), name, f'another name in {where}')
  return Form(length, predictions, **fields)


class Windows:
  """The windows of a split, without end; `len` is how many an epoch has."""

  def __init__(
    self,
    split: shards.Split,
    vocabulary: Vocabulary,
    form: Form,
    seed: int,
    streams: int = 1,
    shuffle: bool = True,
  ):
    """Computes nothing yet.

    Args:
      split: its pieces.
      vocabulary: that of their ids.
      form: of the rows.
      seed: for the order, pairs and masks.
      streams: that share an epoch, so that each has about as many windows.
      shuffle: whether pieces come in random order, anew at every epoch.
    """
    self._split, self._vocabulary, self._form = split, vocabulary, form
    self._seed, self._shuffle = seed, shuffle
    least = 4 + vocabulary.separators if form.next_sentence else 3
    what = f'{least} or more, for special tokens and two others'
    expect(form.text_length >= least, what, form.length, 'LENGTH')
    pieces = len(split)
    wanted = _ROWS * form.length / max(1, split.tokens) * pieces
    count = int(pieces / min(max(wanted, 4 * FEWEST_PIECES), MOST_PIECES))
    most = pieces // (FEWEST_PIECES * streams)  # of each stream
    self._count = streams * max(1, min(most, -(-count // streams)))

  def __len__(self) -> int:
    return self._count

  def rows(self, number: int) -> dict[str, np.ndarray]:
    """Returns the rows of a window, see `bertjax.batch`; there may be none."""
    form, vocabulary = self._form, self._vocabulary
    documents = self._documents(number)
    rng = np.random.default_rng(hashing.mix(self._seed, _PAIRS, number))
    built = pairs.build(
      documents,
      form.text_length,
      form.next_sentence,
      rng,
      form.short,
      form.pair_kind,
      vocabulary.separators,
    )
    built = [built[i] for i in rng.permutation(len(built))]
    rows = _lay_out(built, form.length, vocabulary)
    count = len(built)
    rows |= self._masked(rows, number)
    rows |= {
      'positions': np.broadcast_to(
        np.arange(form.length, dtype=np.int32), (count, form.length)
      ),
      'first_positions': np.zeros((count, 1), np.int32),
      'pair_weights': np.full((count, 1), form.next_sentence, np.float32),
    }
    return _pack(rows, form) if form.sequences > 1 else rows

  def _masked(
    self, rows: dict[str, np.ndarray], number: int
  ) -> dict[str, np.ndarray]:
    """Returns what noise and masks change in the rows of a window, and add."""
    form, spared = self._form, None
    examples = np.arange(len(rows['tokens']))
    if form.noise is not None:
      rows, spared = noises.add(
        {key: rows[key] for key in ('tokens', 'types', 'segments')},
        hashing.mix(self._seed, _NOISE, number, examples),
        self._vocabulary,
        form.noise,
        form.noise_rate,
      )
    masked = masking.mask(
      rows['tokens'],
      rows['segments'],
      hashing.mix(self._seed, _MASKS, number, examples),
      self._vocabulary,
      form.mask_rate,
      form.mask_unit,
      form.predictions - form.most_targets,
      spared,
    )
    if form.noise is None:
      return masked
    return noises.with_masks(rows, masked, form.noise, form.predictions)

  def _documents(self, number: int) -> list[pairs.Document]:
    epoch, window = divmod(number, self._count)
    size = len(self._split)
    # At equal distances: neighbours in a file are alike, and so would be the
    # documents that random second halves come from.
    places = np.arange(window, size, self._count)
    if self._shuffle:
      places = hashing.permuted(places, size, self._seed, _ORDER, epoch)
    found = map(self._split.piece, places.tolist())
    return [
      pairs.Document(
        document,
        tokens.astype(np.int32),
        pairs.split_long_sentences(
          ends.astype(np.int64), self._form.length // 2
        ),
      )
      for document, tokens, ends in found
      if len(tokens)
    ]


def cut_share(
  split: shards.Split,
  vocabulary: Vocabulary,
  length: int,
  pair_kind: str = 'nsp',
) -> float:
  """Returns the share of pairs that are one sentence, cut in two.

  Args:
    split: a window of it is looked at.
    vocabulary: that of its ids.
    length: L.
    pair_kind: a key of `pairs.PAIRS`.
  """
  windows = Windows(split, vocabulary, Form(length, 1), seed=0)
  rng = np.random.default_rng(0)
  found = pairs.cuts(windows._documents(0), length, rng, pair_kind)
  return float(np.mean(found or [False]))


def _lay_out(
  built: Sequence[pairs.Pair], length: int, vocabulary: Vocabulary
) -> dict[str, np.ndarray]:
  """Lays out [CLS] A [SEP] B [SEP], with two [SEP] in between for RoBERTa's.

  Args:
    built: E pairs, from `pairs.build`.
    length: L.
    vocabulary: has the ids of [CLS] and [SEP].

  Returns:
    tokens, types and segments: int32[E, L]; pair_labels: int32[E, 1].
  """
  tokens = np.zeros((len(built), length), np.int32)
  types, segments = np.zeros_like(tokens), np.zeros_like(tokens)
  sep_id = vocabulary.sep_id
  for row, (a, b, _) in enumerate(built):
    end = len(a) + 2
    tokens[row, 0] = vocabulary.cls_id
    tokens[row, 1 : end - 1] = a
    tokens[row, end - 1] = sep_id
    if b is not None:
      middle = len(a) + 1 + vocabulary.separators
      tokens[row, end - 1 : middle] = sep_id
      end = middle + len(b) + 1
      tokens[row, middle : end - 1] = b
      tokens[row, end - 1] = sep_id
      types[row, middle:end] = 1
    segments[row, :end] = 1
  labels = np.array([[label] for *_, label in built], np.int32)
  return {
    'tokens': tokens,
    'types': types,
    'segments': segments,
    'pair_labels': labels.reshape(-1, 1),
  }


def _pack(rows: dict[str, np.ndarray], form: Form) -> dict[str, np.ndarray]:
  """Packs several sequences into one row, see `packing`.

  Before: 3 rows with segments [1 1 1 0], [1 1 1 1], [1 0 0 0]
  After:  2 rows with segments [1 1 1 2], [1 1 1 1]

  A row has three budgets: L tokens, P targets and S sequences. A sequence joins
  a row only if all three have room, so no token and no target is lost; if the
  targets run out first, the row keeps some padding. The rows are ordered by
  their longest sequences, and so are as well mixed as the sequences.
  """
  sizes = {
    'L': form.length,
    'P': form.predictions,
    'S': form.sequences,
  }
  targets = rows.keys() & {'weights', 'order_weights'}
  own = {
    'L': rows['segments'].sum(1).tolist(),
    'P': np.add.reduce([rows[x] > 0 for x in targets]).sum(1).tolist(),
    'S': [1] * len(rows['segments']),
  }
  groups = packing.pack(
    own['L'],
    lambda _: sizes['L'],
    [(own[letter], sizes[letter]) for letter in 'PS'],
  )
  # `join` makes the others.
  kept = rows.keys() - {'segments', 'positions', 'first_positions'}
  letters = {key: batch.KEYS[key][0][1] for key in kept}
  return batching.join(
    [
      [
        {key: rows[key][i, : own[x][i]] for key, x in letters.items()}
        for i in group
      ]
      for group in sorted(groups)
    ],
    len(groups),
    sizes,
  )
