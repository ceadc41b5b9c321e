import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from bertjax import batch
from bertjax.corpus import document_files, pipeline, preparation
from bertjax.corpus.mixtures import Mixture
from bertjax.errors import UserError
from bertjax.text import noises

B, L, P = 16, 32, 5
PACKED = {'length': 64, 'predictions': 10, 'sequences': 3}
HALVES = np.arange(B).reshape(2, -1)


def write_corpus(path, documents=60, seed=0):
  rng = np.random.default_rng(seed)
  words = [''.join(rng.choice(list('abcdefghij'), 4)) for _ in range(300)]
  text = '\n\n'.join(
    '\n'.join(
      ' '.join(rng.choice(words, rng.integers(4, 12))).capitalize() + '.'
      for _ in range(rng.integers(1, 30))
    )
    for _ in range(documents)
  )
  path.write_text(text)
  return str(path)


def prepare(folder, documents=60, seed=0, vocabulary=None, held_out=0.2):
  """Returns a prepared corpus of random sentences."""
  file = write_corpus(folder / f'{seed}.txt', documents, seed)
  return preparation.prepare(
    document_files.TextFiles(file),
    str(folder / 'corpus'),
    vocabulary or preparation.Training(400),
    held_out,
  )


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  return prepare(tmp_path_factory.mktemp('corpus'))


@pytest.fixture(scope='module')
def mixture(corpus, tmp_path_factory):
  folder = tmp_path_factory.mktemp('other')
  other = prepare(folder, seed=9, vocabulary=corpus.vocabulary)
  return Mixture([corpus, other], rates=[3, 1])


def batches(corpus, count=None, **options):
  options = {
    'batch_size': B,
    'length': L,
    'predictions': P,
    'seed': 1,
    'streams': 2,
    **options,
  }
  made = pipeline.batches(corpus, **options)
  return made if count is None else take(iter(made), count)


def take(iterator, count):
  return [next(iterator) for _ in range(count)]


def assert_equal(some, others):
  for one, other in zip(some, others, strict=True):
    assert set(one) == set(other)
    for key in one:
      np.testing.assert_array_equal(one[key], other[key], err_msg=key)
      assert one[key].dtype == other[key].dtype


@pytest.mark.parametrize('sequences', [1, 3])
def test_batches_keep_the_contract(corpus, sequences):
  for example in batches(corpus, 5, sequences=sequences):
    batch.check(example)
    shapes = batch.shapes(B, L, P, sequences)
    assert {k: v.shape for k, v in example.items()} == {
      k: v.shape for k, v in shapes.items()
    }
    real = example['segments'] > 0
    assert (example['tokens'][~real] == 0).all()
    if sequences == 1:
      np.testing.assert_array_equal(
        example['positions'], np.tile(np.arange(L), (B, 1))
      )


def test_rows_read_cls_a_sep_b_sep(corpus):
  for example in batches(corpus, 5):
    for tokens, types, segments in zip(
      example['tokens'], example['types'], example['segments'], strict=True
    ):
      end = segments.sum()
      seps = np.flatnonzero(tokens == corpus.vocabulary.sep_id)
      assert tokens[0] == corpus.vocabulary.cls_id and len(seps) == 2
      assert seps[1] == end - 1
      np.testing.assert_array_equal(types[:end], np.arange(end) > seps[0])


def test_the_same_seed_gives_the_same_batches_and_another_gives_others(corpus):
  first = batches(corpus, 6)
  assert_equal(first, batches(corpus, 6))
  other = batches(corpus, 6, seed=2)
  assert any(
    (a['tokens'] != b['tokens']).any()
    for a, b in zip(first, other, strict=True)
  )


def test_masks_are_new_at_every_epoch(corpus):
  seen = batches(corpus, 150)  # about ten epochs
  assert len({example['tokens'].tobytes() for example in seen}) == 150
  # Where is masked in rows without padding: nearly all choices differ.
  places = [
    tuple(positions[weights > 0])
    for example in seen
    for positions, weights, segments in zip(
      *(example[x] for x in ('target_positions', 'weights', 'segments')),
      strict=True,
    )
    if segments.all()
  ]
  assert len(set(places)) > 0.9 * len(places) > 900


@pytest.mark.parametrize(
  'rows, options',
  [
    (np.arange(B).reshape(2, -1), {}),
    (np.arange(B).reshape(4, -1), PACKED),
    (np.arange(B).reshape(B, 1), {}),  # more processes than streams
    ([[0, 1, B - 1], range(2, B - 1)], {}),  # devices in another order
  ],
)
@pytest.mark.parametrize('kind', ['corpus', 'mixture'])
def test_processes_together_give_the_batches_of_one(
  request, kind, rows, options
):
  corpus = request.getfixturevalue(kind)
  options = {'streams': 4, **options}
  parts = [batches(corpus, 6, process_rows=own, **options) for own in rows]
  order = np.argsort(np.concatenate(rows))
  together = [
    {k: np.concatenate([p[k] for p in step])[order] for k in step[0]}
    for step in zip(*parts, strict=True)
  ]
  assert_equal(together, batches(corpus, 6, **options))


@pytest.mark.parametrize('count', [0, 1, 7, 90])
@pytest.mark.parametrize('options', [{}, PACKED])
@pytest.mark.parametrize('kind', ['corpus', 'mixture'])
def test_a_restored_position_continues_exactly(request, kind, count, options):
  corpus = request.getfixturevalue(kind)
  iterator = iter(batches(corpus, **options))
  take(iterator, count)
  position = iterator.position()
  expected = take(iterator, 10)
  fresh = iter(batches(corpus, **options))
  take(fresh, 2)  # it need not be new
  fresh.restore(position)
  assert_equal(take(fresh, 10), expected)
  # Across a smaller and a larger number of processes, too.
  parts = []
  for index in range(2):
    part = iter(batches(corpus, process_rows=HALVES[index], **options))
    part.restore(position)
    parts.append(take(part, 10))
  together = [
    {k: np.concatenate([a[k], b[k]]) for k in a}
    for a, b in zip(*parts, strict=True)
  ]
  assert_equal(together, expected)
  assert sum(map(len, position.values())) < 200


_ANOTHER_PROCESS = """
import sys
from bertjax.corpus import pipeline, preparation
for name in ('tensorflow', 'seqio', 'tensorflow_datasets'):
  assert name not in sys.modules
corpus = preparation.load(sys.argv[1])
iterator = iter(pipeline.batches(corpus, 16, 32, 5, seed=1, streams=2))
iterator.restore({'stream_0': sys.argv[2].encode(),
                  'stream_1': sys.argv[3].encode()})
for _ in range(5):
  sys.stdout.buffer.write(next(iterator)['tokens'].tobytes())
"""


def test_a_position_is_restored_in_another_process(corpus):
  iterator = iter(batches(corpus))
  take(iterator, 25)
  position = [x.decode() for x in iterator.position().values()]
  expected = b''.join(x['tokens'].tobytes() for x in take(iterator, 5))
  result = subprocess.run(
    [sys.executable, '-c', _ANOTHER_PROCESS, corpus.path, *position],
    check=True,
    capture_output=True,
    env={**os.environ, 'PYTHONPATH': ':'.join(sys.path)},
  )
  assert result.stdout == expected


def test_a_position_in_other_data_is_one_line(corpus, mixture):
  position = iter(batches(mixture)).position()
  for wrong in (position, {'stream_0': b'\x08\x96', 'stream_1': b''}):
    with pytest.raises(UserError, match='set INIT_FROM to this run') as error:
      iter(batches(corpus)).restore(wrong)
    assert '\n' not in str(error.value)


def rows_of(made):
  return sorted(row.tobytes() for b in made for row in b['tokens'] if row.any())


def test_an_evaluation_counts_every_sequence_once(corpus):
  held_out = {'split': 'validation', 'epochs': 1, 'shuffle': False}
  whole = list(batches(corpus, **held_out))
  assert_equal(whole, list(batches(corpus, **held_out)))
  count = sum(int(b['pair_weights'].sum()) for b in whole)
  rows = sum(int((b['segments'].max(1) > 0).sum()) for b in whole)
  assert count == rows > 0
  # Rows one at a time need no padding, and none is left out.
  assert rows_of(whole) == rows_of(batches(corpus, **held_out, batch_size=2))
  # The padding rows of the last batches carry no weight at all.
  for example in whole:
    empty = example['segments'].max(1) == 0
    assert not example['weights'][empty].any()
  # Two processes see the same rows.
  parts = [batches(corpus, **held_out, process_rows=half) for half in HALVES]
  assert rows_of(whole) == rows_of([b for part in parts for b in part])


def test_a_second_epoch_has_the_same_text_with_other_masks(corpus):
  held_out = {'split': 'validation', 'shuffle': False, 'next_sentence': False}
  held_out |= {'short': 0.0}
  once, twice = [
    [
      np.where(weights > 0, targets, 0)
      for b in batches(corpus, epochs=epochs, **held_out)
      for weights, targets, segments in zip(
        b['weights'], b['targets'], b['segments'], strict=True
      )
      if segments.any()
    ]
    for epochs in (1, 2)
  ]
  assert len(twice) == 2 * len(once)
  assert len({x.tobytes() for x in twice}) > 1.5 * len(once)


def test_an_epoch_has_every_piece_once_in_an_order_of_its_own(corpus):
  windows = batches(corpus).parts[0]
  size = len(corpus.split('train'))
  epochs = []
  for epoch in range(3):
    found = [
      document.tokens.tobytes()
      for window in range(len(windows))
      for document in windows._documents(epoch * len(windows) + window)
    ]
    assert len(found) == size
    epochs.append(found)
  assert len(set(map(tuple, epochs))) == 3
  assert len(set(map(tuple, map(sorted, epochs)))) == 1


NOISES = {
  'replacement': {'noise': 'replacement'},
  'insertion': {'noise': 'insertion', 'noise_rate': (0.05, 0.2)},
  'deletion': {'noise': 'deletion'},
  'permutation': {'noise': 'permutation', 'mask_rate': (0.05, 0.15)},
}


def sequences_of(made):
  """Returns all that batches say of each sequence, in a fixed order."""
  found = []
  for b in made:
    b = dict(sorted(b.items()))
    for row in range(len(b['tokens'])):
      for number in range(1, b['segments'][row].max() + 1):
        own = b['segments'][row] == number
        first = b['first_positions'][row, number - 1]
        assert first == np.argmax(own)
        told = [x[row, number - 1] for k, x in b.items() if 'pair' in k]
        told += [
          x[row][own].tolist()
          for k, x in b.items()
          if x.shape[1] == len(own) and k != 'segments'
        ]
        places = b['target_positions'][row]
        weights = b['weights'] + b.get('order_weights', 0)
        mine = own[places] & (weights[row] > 0)
        told += [(places - first)[mine].tolist()]
        told += [
          x[row][mine].tolist()
          for k, x in b.items()
          if k in ('targets', 'weights', 'order_weights')
        ]
        found.append(repr(told))
  return sorted(found)


@pytest.mark.parametrize('noise', [None, *NOISES])
def test_packing_changes_no_sequence_and_fills_the_rows(corpus, noise):
  options = PACKED | {'epochs': 1, 'predictions': 24} | NOISES.get(noise, {})
  apart, packed = [
    list(batches(corpus, **(options | {'sequences': count})))
    for count in (1, 3)
  ]
  assert sequences_of(apart) == sequences_of(packed)
  used_apart, used_packed = [
    sum((b['segments'].max(1) > 0).sum() for b in made)
    for made in (apart, packed)
  ]
  assert used_packed < 0.95 * used_apart


def test_single_segments_have_no_label(corpus):
  for example in batches(corpus, 3, next_sentence=False):
    assert not example['pair_weights'].any() and not example['types'].any()
    assert example['weights'].any()


@pytest.mark.parametrize('unit', ['token', 'word', 'span'])
def test_every_unit_reaches_the_rate(corpus, unit):
  made = batches(corpus, 40, mask_unit=unit)
  targets = sum(b['weights'].sum() for b in made)
  maskable = sum((b['segments'] > 0).sum() - 3 * B for b in made)
  # One third of a target at most is lost to rounding a row, whatever the unit.
  assert abs(targets - 0.15 * maskable) < 3 * np.sqrt(40 * B / 4) + 0.02 * (
    targets if unit == 'word' else 0
  )


@pytest.mark.parametrize('sequences', [1, 3])
@pytest.mark.parametrize('noise', NOISES)
def test_batches_with_noise_keep_the_contract(corpus, noise, sequences):
  options = {'length': 64, 'predictions': 24, 'sequences': sequences}
  options |= NOISES[noise]
  found = batches(corpus, 20, **options)
  cls_id, sep_id = corpus.vocabulary.cls_id, corpus.vocabulary.sep_id
  for example in found:
    batch.check(example, noises.keys_of(noise))
    assert example.keys() == set(noises.keys_of(noise))
    used = example['weights'] + example.get('order_weights', 0)
    assert used.max() == 1
    for tokens, segments, first in zip(
      *(example[key] for key in ('tokens', 'segments', 'first_positions')),
      strict=True,
    ):
      for number in range(1, segments.max() + 1):
        (own,) = np.nonzero(segments == number)
        assert own[0] == first[number - 1] and tokens[own[0]] == cls_id
        assert (tokens[own] == sep_id).sum() == 2 and tokens[own[-1]] == sep_id
    if noise != 'permutation':
      labels, weights = (
        example[f'detection_{key}'] for key in ('labels', 'weights')
      )
      assert not (labels * weights)[example['segments'] == 0].any()
  if noise == 'permutation':
    share = sum(b['order_weights'].sum() for b in found) / sum(
      (b['segments'] > 0).sum() for b in found
    )
    # 5% of the trigrams, of three tokens each; few trigrams where A or B is
    # short.
    assert 0.08 < share < 0.15
  else:
    labels, weights = (
      np.stack([b[f'detection_{key}'] for b in found])
      for key in ('labels', 'weights')
    )
    share = (labels * weights).sum() / weights.sum()
    low, high = {
      'replacement': (0.14, 0.18),  # of the tokens that are not masked
      'insertion': (0.1, 0.15),  # 0.125 beside 0.85 that are not masked
      'deletion': (0.08, 0.12),
    }[noise]
    assert low < share < high


@pytest.mark.parametrize('noise', NOISES)
def test_processes_see_the_noise_of_one(corpus, noise):
  options = NOISES[noise] | PACKED | {'predictions': 24, 'streams': 4}
  whole = batches(corpus, 4, **options)
  parts = [batches(corpus, 4, process_rows=own, **options) for own in HALVES]
  for example, *some in zip(whole, *parts, strict=True):
    joined = {
      key: np.concatenate([part[key] for part in some]) for key in some[0]
    }
    assert_equal([joined], [example])


@pytest.mark.parametrize('kind', ['nsp', 'sop', 'same_document'])
def test_every_kind_of_pair_has_both_labels(corpus, kind):
  made = batches(corpus, 30, pair_kind=kind)
  labels = np.concatenate([b['pair_labels'] for b in made])
  assert abs(labels.mean() - 0.5) < 3 * 0.5 / np.sqrt(len(labels))


def share_of_first(mixture, made):
  """Returns the share of rows whose text is in the first corpus."""
  split = mixture.corpora[0].split('train')
  known = {
    tuple(piece.tokens[i : i + 4].tolist())
    for piece in map(split.piece, range(len(split)))
    for i in range(len(piece.tokens) - 3)
  }
  found = []
  for b in made:
    tokens = b['tokens'].copy()
    np.put_along_axis(
      tokens,
      b['target_positions'],
      np.where(
        b['weights'] > 0,
        b['targets'],
        np.take_along_axis(tokens, b['target_positions'], 1),
      ),
      1,
    )
    found += [tuple(row[1:5].tolist()) in known for row in tokens]
  return np.mean(found)


def test_a_mixture_keeps_its_rates(mixture):
  # Short ones can begin with [CLS] and fewer than 4 tokens: only a few.
  share = share_of_first(mixture, batches(mixture, 60, short=0.0))
  # 960 rows: three standard deviations are 0.042.
  assert abs(share - 0.75) < 0.06


def test_rates_change_at_their_steps(mixture):
  changing = dataclasses.replace(
    mixture, rates=[(0, (1, 0)), (20, (0, 1)), (40, (1, 1))]
  )
  made = batches(changing, 80, short=0.0)
  found = [
    share_of_first(mixture, made[i:j]) for i, j in ((0, 20), (20, 40), (40, 80))
  ]
  # A short A, or one cut by the end of a document, is found in neither.
  assert found[0] > 0.9 and found[1] < 0.1 and 0.35 < found[2] < 0.65


def test_a_temperature_flattens_the_sizes(corpus, tmp_path):
  other = prepare(tmp_path, 240, 3, corpus.vocabulary)
  sizes = [x.splits['train']['tokens'] for x in (corpus, other)]
  for temperature, want in (
    (1.0, sizes[0] / sum(sizes)),
    (0.0, 0.5),
    (((0, 0.5),), 1 / (1 + (sizes[1] / sizes[0]) ** 0.5)),
  ):
    mixed = Mixture([corpus, other], temperature=temperature)
    chosen = mixed.choose(np.arange(20_000), 0, seed=3, stream=0)
    # Three standard deviations of the binomial.
    assert abs(np.mean(chosen == 0) - want) < 0.0107


@pytest.mark.parametrize(
  'change, words',
  [
    ({'rates': [1]}, 'for each of the 2 corpora a rate, one above 0.*RATES'),
    ({'rates': [0, 0]}, 'one above 0'),
    ({'rates': [(0, (1, 1)), (5, (1,))]}, 'for each of the 2 corpora'),
    ({'rates': [(5, (1, 1))]}, 'steps from 0 that ascend'),
    ({'rates': [(0, (1, 1)), (0, (1, 2))]}, 'steps from 0 that ascend'),
    ({'rates': []}, 'for each of the 2 corpora'),
    ({'rates': [(0, 1), (5, 2)]}, 'pairs of a first step and such.*RATES'),
    ({'rates': [(0, (1, 2), 3)]}, 'pairs of a first step and such'),
    ({'rates': [(0, (1, 2)), (5,)]}, 'pairs of a first step and such'),
  ],
)
def test_rates_that_do_not_fit_are_one_line(mixture, change, words):
  with pytest.raises(UserError, match=words) as error:
    dataclasses.replace(mixture, **change)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'temperature',
  [
    (),
    [[]],
    [(0,)],
    [(0, 0.7, 1)],
    [(0, 0.7), (5.5, 0.3)],
    [(5, 0.7)],
    [(0, 0.7), (0, 0.3)],
    1e300,
  ],
)
def test_temperatures_that_do_not_fit_name_their_own_macro(
  mixture, temperature
):
  with pytest.raises(UserError, match='set TEMPERATURE$'):
    dataclasses.replace(mixture, rates=None, temperature=temperature)


def test_rates_and_a_temperature_are_refused(mixture):
  with pytest.raises(UserError, match='rates or a temp.*set TEMPERATURE to 1'):
    dataclasses.replace(mixture, temperature=0.5)


def test_a_temperature_of_one_corpus_is_refused(corpus):
  with pytest.raises(UserError, match='several corpora.*TEMPERATURE to 1.0'):
    Mixture([corpus], temperature=0.5)


def test_little_text_gives_full_batches(tmp_path):
  corpus = prepare(tmp_path, 5, held_out=0)
  for example in batches(corpus, 30, streams=4):
    assert (example['segments'].max(1) > 0).all()
    assert 0.1 < example['pair_labels'].mean() < 0.9


def test_text_that_gives_no_sequence_is_one_line(tmp_path):
  (tmp_path / 'a.txt').write_text('a\n')
  corpus = preparation.prepare(
    document_files.TextFiles(f'{tmp_path}/a.txt'),
    str(tmp_path / 'corpus'),
    preparation.Training(20, min_frequency=1),
    0,
  )
  with pytest.raises(UserError, match='a token or two; set TEXT_FILES'):
    next(iter(batches(corpus)))


def test_an_evaluation_on_nothing_ends_at_once(tmp_path):
  corpus = prepare(tmp_path, documents=1)
  assert len(corpus.split('validation')) == 0
  held_out = {'split': 'validation', 'shuffle': False, 'pair_kind': 'sop'}
  for epochs in (1, 2, 5):
    assert list(batches(corpus, epochs=epochs, **held_out)) == []
  next(iter(batches(corpus)))


def test_an_empty_split_is_not_read_forever(tmp_path):
  corpus = prepare(tmp_path, documents=1)
  told = "documents in the split 'validation' of .*none.*set held_out_fraction"
  with pytest.raises(UserError, match=told):
    batches(corpus, split='validation')


@pytest.mark.parametrize(
  'change, message',
  [
    ({'split': 'test'}, "one of train, validation, got 'test'"),
    ({'predictions': 33}, 'at most 32 predictions, .*set MASK_RATE or NOISE_R'),
    (
      {'mask_unit': 'sentence'},
      "one of span, token, word, got 'sentence'; set .*mask_unit",
    ),
    ({'pair_kind': 'order'}, 'set PAIRS'),
    (
      {'pair_kind': 'sop', 'next_sentence': False},
      'expected NSP=True, for PAIRS=sop, got False; set NSP, or PAIRS',
    ),
    ({'mask_rate': (0.3, 0.1)}, 'the lowest and the highest.*set MASK_RATE'),
    ({'mask_rate': 0}, 'above 0.*no NOISE.*got 0; set MASK_RATE, or NOISE'),
    ({'mask_rate': (0, 0)}, 'set MASK_RATE, or NOISE'),
    ({'noise': 'swap'}, 'set NOISE'),
    ({'noize': 'deletion'}, "mean 'noise'.*set another name in pipeline.b"),
    ({'noise_rate': 0.1}, 'set NOISE_RATE, or NOISE'),
    ({'noise': 'permutation', 'noise_rate': 0.3}, 'at most 0.2.*NOISE_RATE'),
    (
      {'noise': 'permutation'},
      'more than 6 predictions, those of permutation.*set MASK_RATE or NOISE_R',
    ),
    (
      {'length': 6, 'predictions': 1, 'noise': 'insertion', 'noise_rate': 0.3},
      'expected 5 or more, .* beside what insertion adds, got 6; set LENGTH',
    ),
    (
      {'length': 4, 'predictions': 1},
      'expected 5 or more, .*got 4; set LENGTH',
    ),
  ],
)
def test_rows_and_splits_that_cannot_be_are_one_line(corpus, change, message):
  with pytest.raises(UserError, match=message) as raised:
    batches(corpus, **change)
  assert '\n' not in str(raised.value)
