"""Noise, against plain Python and the binomial distribution."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats

from bertjax.errors import UserError
from bertjax.text import hashing, masking, noises
from bertjax.training import parts
from tests.text.test_masking import CLS, SEP, ToyVocabulary, rows

DETECTION = [k for k, x in noises.NOISES.items() if x.target == 'detection']
COUNT, LENGTH = 3000, 64


def clean(count=COUNT, length=LENGTH, seed=0, room=0):
  """Rows of [CLS] A [SEP] B [SEP], with room behind for what is inserted."""
  tokens, segments = rows(count, length - room, seed)
  pad = ((0, 0), (0, room))
  tokens, segments = np.pad(tokens, pad), np.pad(segments, pad)
  types = segments * (np.cumsum(tokens == SEP, 1) - (tokens == SEP) > 0)
  return {
    'tokens': tokens,
    'types': types.astype(np.int32),
    'segments': segments,
  }


def add(noise, rate=0.1, seed=3, before=None, **options):
  """Returns rows before and after, and what was touched."""
  before = clean(room=12, **options) if before is None else before
  seeds = hashing.mix(seed, np.arange(len(before['tokens'])))
  return before, *noises.add(before, seeds, ToyVocabulary(), noise, rate)


def real(rows_):
  """Returns of each row its tokens without padding."""
  return [
    tokens[segments > 0].tolist()
    for tokens, segments in zip(rows_['tokens'], rows_['segments'], strict=True)
  ]


def assert_share(got, trials, share, rows_=COUNT):
  """Three sigma; each row's budget is rounded at random, at most 1/4 each."""
  assert abs(got - share * trials) < 3 * np.sqrt(rows_ / 4)


def test_a_token_in_ten_is_replaced_and_found_by_comparing():
  before, after, touched = add('replacement')
  changed = before['tokens'] != after['tokens']
  np.testing.assert_array_equal(after['detection_labels'] > 0, changed)
  np.testing.assert_array_equal(touched, changed)
  may = before['tokens'] >= 5
  np.testing.assert_array_equal(after['detection_weights'] > 0, may)
  assert not changed[~may].any() and (after['tokens'][may] >= 5).all()
  # A random token is the right one in 1 of 55 cases.
  share = 0.1 * 54 / 55
  expected, spread = share * may.sum(), COUNT / 4 + may.sum() * 0.1 / 55
  assert abs(changed.sum() - expected) < 3 * np.sqrt(spread)


def test_what_is_left_without_the_inserted_tokens_is_the_text():
  before, after, touched = add('insertion')
  labels = after['detection_labels'] > 0
  np.testing.assert_array_equal(labels, touched)
  for key in ('tokens', 'types'):
    for old, new, old_real, is_new, new_real in zip(
      before[key],
      after[key],
      before['segments'] > 0,
      labels,
      after['segments'] > 0,
      strict=True,
    ):
      assert new[new_real & ~is_new].tolist() == old[old_real].tolist()
  assert_share(labels.sum(), (before['tokens'] >= 5).sum(), 0.1)
  assert (after['tokens'][labels] >= 5).all()
  # Behind a token of the text, and of its segment.
  row, column = np.nonzero(labels)
  assert (after['tokens'][row, column - 1] >= 5).all()
  assert not labels[row, column - 1].any()
  types = after['types']
  np.testing.assert_array_equal(types[row, column], types[row, column - 1])


def test_what_stands_behind_a_deleted_token_is_told():
  before = clean()
  # Each token has another number, so that it can be found again.
  vocabulary = ToyVocabulary(
    special=np.arange(200) < 5, continuation=np.zeros(200, bool)
  )
  numbers = np.arange(LENGTH) + 5
  before['tokens'] = np.where(before['tokens'] < 5, before['tokens'], numbers)
  after, touched = noises.add(
    before, hashing.mix(3, np.arange(COUNT)), vocabulary, 'deletion', 0.1
  )
  assert not touched.any()
  gone = trials = 0
  for old, new, labels, weights in zip(
    real(before),
    after['tokens'],
    after['detection_labels'],
    after['detection_weights'],
    strict=True,
  ):
    left, expected, told, is_open = set(new.tolist()), [], [], False
    for before_it, token in zip([CLS, *old], old, strict=False):
      if token >= 5 and token not in left:
        gone += 1
        is_open = True
        assert before_it >= 5  # never the first of a segment
        continue
      expected.append(is_open)
      told.append(before_it >= 5)
      is_open = False
    trials += sum(a >= 5 and b >= 5 for a, b in zip(old, old[1:], strict=False))
    size = len(expected)
    assert labels[:size].tolist() == expected and not labels[size:].any()
    assert weights[:size].tolist() == told and not weights[size:].any()
  assert_share(gone, trials, 0.1)


def trigrams(tokens):
  return sum(min(tokens[i : i + 3]) >= 5 for i in range(len(tokens) - 2))


@pytest.mark.parametrize('rate', [0.05, 0.2])
def test_trigrams_are_shuffled_in_all_orders_alike(rate):
  # Tokens that name their place.
  before = clean()
  numbers = np.arange(LENGTH, dtype=np.int32) + 5
  before['tokens'] = np.where(before['tokens'] < 5, before['tokens'], numbers)
  vocabulary = ToyVocabulary(special=np.arange(200) < 5)
  seeds = hashing.mix(4, np.arange(COUNT))
  after, touched = noises.add(before, seeds, vocabulary, 'permutation', rate)
  np.testing.assert_array_equal(after['order_weights'] > 0, touched)
  np.testing.assert_array_equal(after['targets'], before['tokens'])
  same = after['tokens'] == before['tokens']
  assert same[~touched].all() and (before['tokens'][touched] >= 5).all()
  assert (touched.sum(1) % 3 == 0).all()
  assert_share(touched.sum() / 3, sum(map(trigrams, real(before))), rate)
  # A third stays in place by chance: what guessing reaches.
  spread = 3 * np.sqrt(2 / 9 * 3 / touched.sum())
  assert abs(same[touched].mean() - 1 / 3) < spread
  distance = (after['tokens'].astype(int) - before['tokens'])[touched]
  found, counts = np.unique(distance, return_counts=True)
  assert found.tolist() == [-2, -1, 0, 1, 2]
  # What a model loses that guesses by these alone.
  guessed = parts.PARTS['order'].guessing['loss']
  assert scipy.stats.entropy(counts) == pytest.approx(guessed, abs=0.02)


@pytest.mark.parametrize('noise', noises.NOISES)
def test_rates_may_be_drawn_for_each_row(noise):
  before, after, touched = add(noise, (0.02, 0.18))
  if noise == 'deletion':
    found = (before['segments'].sum(1) - after['segments'].sum(1)) / (
      before['segments'].sum(1) - 5
    )
  elif noise == 'permutation':
    found = touched.sum(1) / 3 / [max(1, trigrams(x)) for x in real(before)]
  else:
    found = touched.sum(1) / (before['tokens'] >= 5).sum(1)
  # Mean 0.1; a uniform distribution from 0.02 to 0.18 has a deviation of 0.046,
  # and rounding adds at most half a token of 23 or more.
  spread = np.sqrt(0.046**2 + (0.5 / 23) ** 2)
  assert abs(found.mean() - 0.1) < 3 * spread / np.sqrt(COUNT) + 0.002
  assert 0.04 < found.std() < 0.055
  assert (found < 0.05).mean() > 0.1 and (found > 0.15).mean() > 0.1


@pytest.mark.parametrize('noise', noises.NOISES)
def test_special_tokens_stay_as_many_and_in_order(noise):
  before, after, _ = add(noise, 0.2)
  for old, new in zip(real(before), real(after), strict=True):
    assert [x for x in new if x < 5] == [x for x in old if x < 5]
    assert new[0] == CLS and new[-1] == SEP
  padding = after['segments'] == 0
  for key in after.keys() - {'targets'}:
    assert not after[key][padding].any(), key


@pytest.mark.parametrize('noise', noises.NOISES)
def test_a_row_is_disturbed_the_same_in_any_batch_and_otherwise_by_a_seed(
  noise,
):
  before, together, _ = add(noise, count=20)
  seeds = hashing.mix(3, np.arange(20))
  for i in range(20):
    row = {key: x[i : i + 1] for key, x in before.items()}
    alone, _ = noises.add(row, seeds[i : i + 1], ToyVocabulary(), noise, 0.1)
    for key in together:
      np.testing.assert_array_equal(alone[key][0], together[key][i])
  other = add(noise, count=20, seed=4)[1]
  assert (other['tokens'] != together['tokens']).any(1).mean() > 0.8


@pytest.mark.parametrize('noise', noises.NOISES)
def test_rows_with_nothing_to_disturb_and_no_rows_work(noise):
  tokens = np.array([[CLS, 9, SEP, 0], [CLS, SEP, SEP, 0], [0, 0, 0, 0]])
  for some in (tokens, tokens[:0]):
    some = some.astype(np.int32)
    before = {
      'tokens': some,
      'types': 0 * some,
      'segments': (some > 0).astype(np.int32),
    }
    _, after, _ = add(noise, 0.01, before=before)
    np.testing.assert_array_equal(after['tokens'], some)


@pytest.mark.parametrize('noise', noises.NOISES)
def test_masks_and_noise_never_meet(noise):
  _, noised, touched = add(noise, 0.1)
  predictions = 30
  masked = masking.mask(
    noised['tokens'],
    noised['segments'],
    hashing.mix(8, np.arange(COUNT)),
    ToyVocabulary(),
    0.15,
    'token',
    predictions,
    touched,
  )
  both = noises.with_masks(noised, masked, noise, predictions)
  row, slot = np.nonzero(both['weights'])
  column = both['target_positions'][row, slot]
  assert len(row) and not touched[row, column].any()
  # An honest share of what noise left.
  left = (noised['tokens'] >= 5) & ~touched
  assert_share(len(row), left.sum(), 0.15)
  shown = noised.get('targets', noised['tokens'])
  np.testing.assert_array_equal(both['targets'][row, slot], shown[row, column])
  if noise in DETECTION:
    assert not both['detection_weights'][row, column].any()
    assert both['detection_weights'].sum() == noised[
      'detection_weights'
    ].sum() - (noised['detection_weights'][row, column].sum())
    return
  row, slot = np.nonzero(both['order_weights'])
  assert len(row) == touched.sum()
  assert touched[row, both['target_positions'][row, slot]].all()
  np.testing.assert_array_equal(
    both['targets'][row, slot],
    shown[row, both['target_positions'][row, slot]],
  )
  used = both['weights'] + both['order_weights']
  assert used.max() == 1
  for positions, weights in zip(both['target_positions'], used, strict=True):
    count = int(weights.sum())
    assert weights[:count].all() and (np.diff(positions[:count]) > 0).all()


@pytest.mark.parametrize('length', [16, 64, 128, 513])
@pytest.mark.parametrize('rate', [0.01, 0.1, (0.2, 0.5)])
def test_there_is_room_for_all_that_is_inserted(length, rate):
  room = noises.text_length(length, 'insertion', rate)
  high = rate[1] if isinstance(rate, tuple) else rate
  assert room + np.ceil(high * (room - 2)) <= length
  assert noises.text_length(length, 'deletion', rate) == length


@pytest.mark.parametrize(
  'noise, rate, words',
  [
    ('swap', None, 'NOISE'),
    (
      None,
      0.1,
      'expected None, for there is no NOISE, got 0.1; set NOISE_RATE',
    ),
    ('permutation', 0.3, 'at most 0.2 for NOISE=permutation.*set NOISE_RATE'),
    ('deletion', (0.3, 0.1), 'the lowest and the highest.*set NOISE_RATE'),
    ('deletion', (0.1, 0.2, 0.3), 'the lowest and the highest'),
    ('replacement', (0.1, 0.6), 'at most 0.5'),
  ],
)
def test_noise_that_cannot_be_is_one_line(noise, rate, words):
  with pytest.raises(UserError, match=words) as raised:
    noises.check(noise, rate)
  assert '\n' not in str(raised.value)


@st.composite
def cases(draw):
  """Rows of one segment or two, tight for what is inserted, noise and rate."""
  noise = draw(st.sampled_from(sorted(noises.NOISES)))
  share = st.floats(0.01, noises.NOISES[noise].most)
  rate = draw(st.one_of(share, st.tuples(share, share).map(sorted)))
  text = st.lists(st.integers(5, 59), min_size=1, max_size=24)
  several = draw(st.lists(st.lists(text, min_size=1, max_size=2), min_size=1))
  laid_out = [[CLS, *sum((x + [SEP] for x in row), [])] for row in several]
  length = room = max(map(len, laid_out))
  while noises.text_length(length, noise, rate) < room:
    length += 1
  rows_ = {
    key: np.zeros((len(laid_out), length), np.int32)
    for key in ('tokens', 'types', 'segments')
  }
  for row, tokens in enumerate(laid_out):
    size, first = len(tokens), len(several[row][0]) + 2
    rows_['tokens'][row, :size] = tokens
    rows_['types'][row, first:size] = 1
    rows_['segments'][row, :size] = 1
  return noise, rate, draw(st.integers(0, 2**32)), rows_


def parts_of(tokens):
  """Returns the places of each segment, without [CLS] and [SEP]."""
  ends = [i for i, token in enumerate(tokens) if token == SEP]
  firsts = [1, *(i + 1 for i in ends)]
  return [range(a, b) for a, b in zip(firsts, ends, strict=False)]


@hypothesis.settings(deadline=None, derandomize=True)
@hypothesis.given(cases())
def test_whatever_the_rows_no_more_is_done_than_was_asked(case):
  noise, rate, seed, before = case
  low, high = rate if isinstance(rate, list) else (rate, rate)
  seeds = hashing.mix(seed, np.arange(len(before['tokens'])))
  after, touched = noises.add(before, seeds, ToyVocabulary(), noise, rate)
  labels = after.get('detection_labels', after.get('order_weights'))
  for i, (old, new) in enumerate(zip(real(before), real(after), strict=True)):
    was, now = parts_of(old), parts_of(new)
    assert len(was) == len(now) and all(now)  # no segment is left empty
    # [CLS] A [SEP] is sentence A, and B [SEP] sentence B.
    types = [0] * (now[0].stop + 1) + [1] * (len(new) - now[0].stop - 1)
    assert after['types'][i, : len(new)].tolist() == types
    marked = [x for x in range(len(new)) if labels[i, x]]
    assert not labels[i, len(new) :].any()
    clean = sum(map(len, was))
    if noise == 'insertion':
      assert [x for x, y in zip(new, labels[i], strict=False) if not y] == old
      done, among = len(marked), clean
    elif noise == 'deletion':
      left = iter(old)
      assert all(token in left for token in new)
      assert [old[x[0]] for x in was] == [new[x[0]] for x in now]
      done, among = len(old) - len(new), clean - len(was)
      assert min(done, 1) <= len(marked) <= done
    elif noise == 'replacement':
      changed = [x for x in range(len(old)) if old[x] != new[x]]
      assert len(old) == len(new) and changed == marked
      among = clean
      done = max(len(changed), math.floor(low * among))  # some were the same
    else:
      assert [x for x in marked if touched[i, x]] == marked
      assert len(marked) == touched[i].sum()
      done, among = len(marked) / 3, sum(max(0, len(x) - 2) for x in was)
      for x in was:
        assert sorted(old[a] for a in x) == sorted(new[a] for a in x)
      assert all(old[x] == new[x] for x in range(len(old)) if x not in marked)
    assert math.floor(low * among) <= done <= math.ceil(high * among + 1e-9)


@pytest.mark.parametrize('rate', [0.013, 0.5, (0.02, 0.18), (0.0, 0.3)])
@pytest.mark.parametrize('count', [1, 7, 100])
def test_a_budget_is_exact_in_the_mean_and_next_to_its_share(rate, count):
  rows_ = 20000
  seeds = hashing.mix(5, np.arange(rows_))
  found = masking.budget(np.full(rows_, count), rate, seeds)
  low, high = rate if isinstance(rate, tuple) else (rate, rate)
  assert math.floor(low * count) <= found.min()
  assert found.max() <= math.ceil(high * count)
  # A uniform rate and a random rounding: their variances, at most 1/4 each.
  spread = np.sqrt((high - low) ** 2 / 12 * count**2 + 1 / 4)
  mean = (low + high) / 2 * count
  assert abs(found.mean() - mean) < 3 * spread / np.sqrt(rows_)


@pytest.mark.parametrize('noise', ['replacement', 'insertion'])
def test_the_rates_of_rows_are_uniform(noise):
  # In rows of some 400 tokens rounding is 1/64 of the range.
  before, after, _ = add(noise, (0.02, 0.18), count=1000, length=512, seed=3)
  labels = after['detection_labels'].sum(1) / (before['tokens'] >= 5).sum(1)
  if noise == 'replacement':  # one in 55 is the right one
    labels = labels * 55 / 54
  test = scipy.stats.kstest(labels, scipy.stats.uniform(0.02, 0.16).cdf)
  assert test.pvalue > 0.01
