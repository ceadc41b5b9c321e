import numpy as np
import pytest

from bertjax.text import pairs


def document(identity, sizes):
  """Tokens name their document, sentence and place, so any cut shows."""
  bounds = np.append(0, np.cumsum(sizes))
  tokens = (identity * 10000 + np.arange(bounds[-1])).astype(np.int32)
  return pairs.Document(identity, tokens, bounds)


def window(count=12, sentences=30, seed=0):
  rng = np.random.default_rng(seed)
  return [document(i + 1, rng.integers(3, 25, sentences)) for i in range(count)]


def build(documents, length=64, next_sentence=True, seed=0, **options):
  return pairs.build(
    documents, length, next_sentence, np.random.default_rng(seed), **options
  )


def source(tokens):
  return set((tokens // 10000).tolist())


def is_contiguous(tokens):
  return (np.diff(tokens) == 1).all()


def test_pairs_fit_and_neither_segment_is_empty():
  for a, b, _ in build(window()):
    assert len(a) >= 1 and len(b) >= 1 and len(a) + len(b) <= 61
    assert is_contiguous(a) and is_contiguous(b)


def test_a_random_second_segment_is_of_another_document():
  labels = []
  for a, b, label in build(window()):
    labels.append(label)
    if label:
      assert source(a) != source(b)
    else:
      assert source(a) == source(b) and b[0] > a[-1]
  assert 0.4 < np.mean(labels) < 0.7


@pytest.mark.parametrize(
  'sizes, least, most',
  [
    ([20], 1, 1),
    ([5] * 400, 0, 0.03),
    ([9, 9], 0.3, 0.4),
    ([30] * 4, 0.2, 0.4),
  ],
  ids=str,
)
def test_the_pairs_that_are_one_sentence_are_counted(sizes, least, most):
  documents = [document(i + 1, sizes) for i in range(2000)]
  found = pairs.cuts(documents, 64, np.random.default_rng(3))
  built = build(documents, 64, seed=3)
  starts = {int(x) for one in documents for x in one.tokens[one.bounds[:-1]]}
  for cut, (a, b, label) in zip(found, built, strict=True):
    goes_on = not label and b[0] == a[-1] + 1  # and neither was shortened
    assert cut == (goes_on and int(b[0]) not in starts)
  following = [cut for cut, (*_, x) in zip(found, built, strict=True) if not x]
  assert least <= np.mean(following) <= most


def test_swapped_halves_of_a_sentence_are_counted():
  documents = [document(i + 1, [20]) for i in range(50)]
  rng = np.random.default_rng(3)
  assert all(pairs.cuts(documents, 64, rng, 'sop'))
  documents = [document(i + 1, [20] * 40) for i in range(50)]
  # One target in ten is short, and for a third of these one sentence is enough;
  # of the 14 or so pairs of a document the last may have but one.
  assert 0 < np.mean(pairs.cuts(documents, 64, rng, 'sop')) < 0.1
  assert not any(pairs.cuts(documents, 64, rng, 'same_document'))


@pytest.mark.parametrize(
  'sizes',
  [[5] * 400, [20], [2], [1, 1], [1, 1, 1], [7, 1], [1, 90, 1]],
  ids=str,
)
@pytest.mark.parametrize('length', [16, 64])
def test_half_the_pairs_are_random_and_no_document_is_left_out(sizes, length):
  documents = [document(i + 1, sizes) for i in range(8000 // len(sizes))]
  labels, seen = [], set()
  for start in range(0, len(documents), 16):
    for a, b, label in build(documents[start : start + 16], length, seed=start):
      labels.append(label)
      seen |= source(a)
      if not label:
        assert source(a) == source(b) and a[-1] < b[0]
  assert len(seen) == len(documents)
  assert abs(np.mean(labels) - 0.5) < 3 * 0.5 / np.sqrt(len(labels))


def test_no_last_token_is_left_over():
  documents = [document(i + 1, [6, 6, 1]) for i in range(16)]
  kept = [
    x
    for a, b, label in build(documents, short=0.0)
    for x in ([a] if label else [a, b])
  ]
  assert sum(map(len, kept)) == 16 * 13


def test_second_segment_follows_the_first_where_nothing_was_cut():
  documents = [document(i + 1, [5] * 100) for i in range(5)]
  for a, b, label in build(documents, length=512):
    if not label and len(a) + len(b) < 500:
      assert b[0] == a[-1] + 1


def test_no_token_of_a_document_is_lost_when_segments_are_single():
  documents = window(4)
  built = build(documents, next_sentence=False)
  assert all(b is None for _, b, _ in built)
  tokens = np.concatenate([a for a, _, _ in built])
  np.testing.assert_array_equal(
    tokens, np.concatenate([d.tokens for d in documents])
  )


def test_unused_sentences_of_a_random_pair_are_used_later():
  documents = [document(i + 1, [6] * 60) for i in range(6)]
  built = build(documents, short=0.0)
  for d in documents:
    firsts = [a for a, _, _ in built if a[0] // 10000 == d.identity]
    seconds = [
      b for a, b, label in built if not label and b[0] // 10000 == d.identity
    ]
    seen = set(np.concatenate(firsts + seconds).tolist())
    # 61 is no multiple of 6: up to 5 tokens a sequence are cut at an end.
    assert len(seen) > 0.9 * len(d.tokens)


def test_one_sequence_in_ten_is_short():
  documents = [document(i + 1, [4] * 500) for i in range(20)]
  full = [
    len(a) + len(b) >= 61 for a, b, label in build(documents) if not label
  ]
  # A short target (2 to 61, one in ten) reaches 61 only by rounding up.
  assert 0.86 < np.mean(full) < 0.95


@pytest.mark.parametrize('sizes', [[[5]], [[5], [7]], [[1]], [[1], [1]]])
def test_documents_of_one_sentence_work(sizes):
  built = build([document(i + 1, s) for i, s in enumerate(sizes)])
  for a, b, label in built:
    assert len(a) and len(b)
    assert (source(a) != source(b)) == bool(label)
  assert built or sizes == [[1]]  # one token in the world makes no pair


def test_the_same_seed_gives_the_same_pairs_and_another_gives_others():
  def flat(seed):
    built = build(window(), seed=seed)
    return [x.tolist() for a, b, _ in built for x in (a, b)]

  assert flat(3) == flat(3) != flat(4)


def test_long_sentences_are_cut_and_empty_ones_dropped():
  ends = np.array([3, 3, 103, 110])
  np.testing.assert_array_equal(
    pairs.split_long_sentences(ends, 40), [0, 3, 43, 83, 103, 110]
  )
  np.testing.assert_array_equal(
    pairs.split_long_sentences(ends, 200), [0, 3, 103, 110]
  )


def test_truncation_matches_dropping_one_token_at_a_time():
  for a_size, b_size, room in [
    (50, 30, 61),
    (10, 90, 61),
    (40, 41, 61),
    (30, 30, 61),
    (100, 1, 20),
  ]:
    # Slow twin of google-research/bert's truncate_seq_pair, lengths only.
    a_left, b_left = a_size, b_size
    while a_left + b_left > room:
      if a_left > b_left:
        a_left -= 1
      else:
        b_left -= 1
    most_a, most_b = pairs.fit(room, a_size, b_size)
    assert (min(a_size, most_a), min(b_size, most_b)) == (a_left, b_left)


@pytest.mark.parametrize('length', [16, 64])
@pytest.mark.parametrize(
  'sizes', [[5] * 400, [20], [2], [1, 1], [7, 1]], ids=str
)
def test_half_the_segments_that_follow_each_other_are_swapped(sizes, length):
  documents = [document(i + 1, sizes) for i in range(2000 // len(sizes))]
  built = build(documents, length, kind='sop')
  for a, b, label in built:
    assert 1 <= len(a) and 1 <= len(b) and len(a) + len(b) <= length - 3
    assert is_contiguous(a) and is_contiguous(b) and source(a) == source(b)
    assert (b[0] < a[0]) == label
    if len(a) + len(b) < length - 3:  # nothing was cut
      first, second = (b, a) if label else (a, b)
      assert second[0] == first[-1] + 1
  labels = np.array([label for *_, label in built])
  assert abs(labels.mean() - 0.5) < 3 * 0.5 / np.sqrt(len(labels))
  # The lengths of the segments do not tell the label, unless the text does.
  ahead = np.array([np.sign(len(a) - len(b)) for a, b, _ in built])
  means = [ahead[labels == label].mean() for label in (0, 1)]
  assert sizes == [7, 1] or abs(means[0] - means[1]) < 6 / np.sqrt(len(built))
  assert {x for a, b, _ in built for x in source(a)} == set(
    range(1, len(documents) + 1)
  )


def test_a_document_of_one_token_has_no_order():
  assert not build([document(1, [1]), document(2, [1])], kind='sop')
  assert build([document(1, [1]), document(2, [1])], kind='same_document')


@pytest.mark.parametrize(
  'sizes', [[5] * 100, [20], [2], [1, 1], [7, 1]], ids=str
)
def test_half_the_second_segments_are_of_another_document(sizes):
  documents = [document(i + 1, sizes) for i in range(2000 // len(sizes))]
  labels, before = [], 0
  for start in range(0, len(documents), 16):
    some = documents[start : start + 16]
    for a, b, label in build(some, seed=start, kind='same_document'):
      labels.append(label)
      assert 1 <= len(a) and 1 <= len(b) and len(a) + len(b) <= 61
      assert is_contiguous(a) and is_contiguous(b)
      assert (source(a) != source(b)) == label
      assert not set(a.tolist()) & set(b.tolist())
      before += not label and bool(b[0] < a[0])
  assert abs(np.mean(labels) - 0.5) < 3 * 0.5 / np.sqrt(len(labels))
  if len(sizes) == 100:  # from anywhere in the document
    share = before / (len(labels) - sum(labels))
    assert abs(share - 0.5) < 0.1


@pytest.mark.parametrize('kind', pairs.PAIRS)
def test_pieces_of_one_document_are_of_one_document(kind):
  documents = [document(1, [5] * 20) for _ in range(4)]
  for a, b, label in build(documents, kind=kind):
    assert source(a) == source(b) and (kind == 'sop' or label == 0)
