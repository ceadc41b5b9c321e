import dataclasses

import numpy as np
import pytest

from bertjax.text import hashing, masking

CLS, SEP, MASK = 2, 3, 4


@dataclasses.dataclass
class ToyVocabulary:
  """Ids 0-4 are special, 5-39 whole words, 40-59 continue a word."""

  mask_id: int = MASK
  special: np.ndarray = dataclasses.field(
    default_factory=lambda: np.arange(60) < 5
  )
  continuation: np.ndarray = dataclasses.field(
    default_factory=lambda: np.arange(60) >= 40
  )
  replacements: np.ndarray = dataclasses.field(
    default_factory=lambda: np.arange(5, 60, dtype=np.int32)
  )


def rows(count, length, seed=0):
  """[CLS] A [SEP] B [SEP] of random lengths; a third of the pieces are ##."""
  rng = np.random.default_rng(seed)
  tokens = np.zeros((count, length), np.int32)
  for row in tokens:
    end = int(rng.integers(length // 2, length + 1))
    row[:end] = np.where(
      rng.random(end) < 0.33,
      rng.integers(40, 60, end),
      rng.integers(5, 40, end),
    )
    row[0] = CLS
    row[[end // 2, end - 1]] = SEP
  return tokens, (tokens > 0).astype(np.int32)


def masked(unit, count=2000, length=64, rate=0.15, seed=1):
  tokens, segments = rows(count, length)
  seeds = hashing.mix(seed, np.arange(count))
  predictions = int(np.ceil(length * rate))
  out = masking.mask(
    tokens, segments, seeds, ToyVocabulary(), rate, unit, predictions
  )
  return tokens, segments, out


def chosen(tokens, out):
  picked = np.zeros(tokens.shape, bool)
  row, slot = np.nonzero(out['weights'])
  picked[row, out['target_positions'][row, slot]] = True
  return picked


def run_lengths(picked):
  """Lengths of the runs of chosen positions, over all rows."""
  edges = np.diff(np.pad(picked.astype(int), ((0, 0), (1, 1))), axis=1)
  return np.nonzero(edges < 0)[1] - np.nonzero(edges > 0)[1]


@pytest.mark.parametrize('unit', masking.UNITS)
def test_targets_are_the_original_tokens_and_never_special(unit):
  tokens, _, out = masked(unit)
  row, slot = np.nonzero(out['weights'])
  position = out['target_positions'][row, slot]
  np.testing.assert_array_equal(
    out['targets'][row, slot], tokens[row, position]
  )
  assert (tokens[row, position] >= 5).all()
  untouched = ~chosen(tokens, out)
  np.testing.assert_array_equal(out['tokens'][untouched], tokens[untouched])


@pytest.mark.parametrize('unit', masking.UNITS)
def test_rate_and_80_10_10_hold_within_three_sigma(unit):
  tokens, _, out = masked(unit)
  maskable = (tokens >= 5).sum()
  count = int(out['weights'].sum())
  # Each row's budget is rounded at random: a variance of at most 1/4 a row.
  assert abs(count - 0.15 * maskable) < 3 * np.sqrt(len(tokens) / 4)
  picked = chosen(tokens, out)
  before, after = tokens[picked], out['tokens'][picked]
  # Tokens of a span share their case: the variance of a mean of clusters, the
  # clusters taken as runs of chosen tokens, which are spans or longer.
  sizes = run_lengths(picked) if unit == 'span' else np.ones(count)
  # A random token equals the right one in 1 of 55 cases.
  for share, expected in (
    ((after == MASK).mean(), 0.8),
    ((after == before).mean(), 0.1 + 0.1 / 55),
    (((after != MASK) & (after != before)).mean(), 0.1 * 54 / 55),
  ):
    assert (
      abs(share - expected)
      < 3 * np.sqrt(expected * (1 - expected) * (sizes**2).sum()) / count
    )


def test_every_token_is_as_likely_as_any_other():
  tokens = np.tile(np.arange(5, 37, dtype=np.int32), (20000, 1))
  out = masking.mask(
    tokens,
    np.ones_like(tokens),
    hashing.mix(3, np.arange(20000)),
    ToyVocabulary(),
    0.15,
    'token',
    5,
  )
  share = chosen(tokens, out).mean(0)
  sigma = np.sqrt(0.15 * 0.85 / 20000)
  # 32 positions: four sigma for the worst of them.
  assert np.abs(share - 0.15).max() < 4 * sigma


def test_random_replacements_are_never_special():
  tokens, _, out = masked('token')
  changed = (out['tokens'] != tokens) & (out['tokens'] != MASK)
  assert changed.any() and (out['tokens'][changed] >= 5).all()


def words_of(row):
  """Slow twin: the words of a row as lists of positions."""
  words, open_word = [], False
  for position, token in enumerate(row):
    if token < 5:
      open_word = False
    elif token >= 40 and open_word:
      words[-1].append(position)
    else:
      words.append([position])
      open_word = True
  return words


def test_words_are_masked_whole():
  tokens, _, out = masked('word', count=300)
  for row, picked in zip(tokens, chosen(tokens, out), strict=True):
    for word in words_of(row):
      assert picked[word].all() or not picked[word].any()


def test_spans_are_longer_than_words_and_stay_within_a_segment():
  runs = {}
  for unit in ('token', 'span'):
    tokens, _, out = masked(unit, count=500, length=128)
    runs[unit] = run_lengths(chosen(tokens, out))
  # SpanBERT, section 3.1: a mean of 3.8 words, here cut by the budget of 19
  # tokens and the 64-token segments; single tokens touch by chance only.
  assert np.mean(runs['span']) > 2.5 > 1.5 > np.mean(runs['token'])
  assert max(runs['span']) <= 19


def test_a_span_is_masked_randomised_or_kept_as_one():
  # Two targets a row: one span of two words, or two spans of one.
  tokens = np.tile(np.arange(5, 35, dtype=np.int32), (4000, 1))
  out = masking.mask(
    tokens,
    np.ones_like(tokens),
    hashing.mix(8, np.arange(4000)),
    ToyVocabulary(),
    2 / 30,
    'span',
    2,
  )
  full = out['weights'].sum(1) == 2
  first, second = out['target_positions'][full].T
  after = np.take_along_axis(out['tokens'], out['target_positions'], 1)[full]
  same = (after[:, 0] == MASK) == (after[:, 1] == MASK)
  # Neighbours are one span but for 2 in 30 of the 0.2 that are two spans.
  assert same[second == first + 1].mean() > 0.98
  # 0.8^2 + 0.2^2 where they are two.
  assert abs(same[second > first + 1].mean() - 0.68) < 0.06


def test_span_lengths_are_geometric_with_a_fifth_and_at_most_ten():
  # One long segment of whole words and a budget that no span meets: the first
  # span of each row stands alone when the budget is a single span.
  tokens = np.full((4000, 400), 7, np.int32)
  out = masking.mask(
    tokens,
    np.ones_like(tokens),
    hashing.mix(5, np.arange(4000)),
    ToyVocabulary(),
    0.025,
    'span',
    10,
  )
  picked = chosen(tokens, out)
  assert (picked.sum(1) == 10).all()
  runs = run_lengths(picked)
  # Truncated at the budget of ten, so shorter than the 4.46 of whole spans
  # clipped at ten (sum of 0.8^k, k < 10), longer than half of it.
  assert 2.2 < np.mean(runs) < 4.46


@pytest.mark.parametrize('unit', masking.UNITS)
def test_a_row_is_masked_the_same_in_any_batch(unit):
  tokens, segments = rows(20, 64)
  seeds = hashing.mix(9, np.arange(20))
  together = masking.mask(
    tokens, segments, seeds, ToyVocabulary(), 0.15, unit, 10
  )
  for i in range(20):
    alone = masking.mask(
      tokens[i : i + 1],
      segments[i : i + 1],
      seeds[i : i + 1],
      ToyVocabulary(),
      0.15,
      unit,
      10,
    )
    for key in together:
      np.testing.assert_array_equal(alone[key][0], together[key][i])


@pytest.mark.parametrize('unit', masking.UNITS)
def test_another_seed_gives_another_mask(unit):
  tokens, _, first = masked(unit, count=50, seed=1)
  _, _, second = masked(unit, count=50, seed=2)
  assert (chosen(tokens, first) != chosen(tokens, second)).any(1).mean() > 0.9


@pytest.mark.parametrize('unit', masking.UNITS)
def test_rows_with_little_or_nothing_to_mask_work(unit):
  tokens = np.array([[CLS, 9, SEP, 0], [CLS, SEP, SEP, 0], [0, 0, 0, 0]])
  tokens = tokens.astype(np.int32)
  out = masking.mask(
    tokens,
    (tokens > 0).astype(np.int32),
    hashing.mix(1, np.arange(3)),
    ToyVocabulary(),
    0.15,
    unit,
    2,
  )
  np.testing.assert_array_equal(out['weights'].sum(1), [1, 0, 0])
  assert out['targets'][0, 0] == 9 and out['target_positions'][0, 0] == 1


@pytest.mark.parametrize('unit', masking.UNITS)
def test_each_row_draws_its_rate_from_a_range(unit):
  tokens, segments = rows(4000, 64)
  out = masking.mask(
    tokens,
    segments,
    hashing.mix(6, np.arange(4000)),
    ToyVocabulary(),
    (0.1, 0.3),
    unit,
    20,
  )
  share = out['weights'].sum(1) / (tokens >= 5).sum(1)
  # Uniform: a deviation of 0.2 / sqrt(12), and up to half a token of 29 or more
  # by rounding. Whole words may leave a token of the budget.
  spread = np.sqrt(0.2**2 / 12 + (0.5 / 29) ** 2)
  slack = 0.005 if unit == 'word' else 0
  assert abs(share.mean() - 0.2) < 3 * spread / np.sqrt(4000) + slack
  quarters = np.histogram(share, [0, 0.15, 0.2, 0.25, 1])[0] / 4000
  assert np.abs(quarters - 0.25).max() < 0.05
  assert share.max() < 0.35


@pytest.mark.parametrize('unit', masking.UNITS)
def test_a_rate_of_0_masks_nothing(unit):
  tokens, _, out = masked(unit, count=50, rate=0.0)
  np.testing.assert_array_equal(out['tokens'], tokens)
  assert not out['weights'].any() and not out['targets'].any()


def test_what_is_spared_is_never_masked_and_counts_for_no_rate():
  tokens, segments = rows(2000, 64)
  spared = np.random.default_rng(5).random(tokens.shape) < 0.3
  out = masking.mask(
    tokens,
    segments,
    hashing.mix(6, np.arange(2000)),
    ToyVocabulary(),
    0.15,
    'token',
    10,
    spared,
  )
  assert not (chosen(tokens, out) & spared).any()
  maskable = ((tokens >= 5) & ~spared).sum()
  assert abs(out['weights'].sum() - 0.15 * maskable) < 3 * np.sqrt(2000 / 4)
