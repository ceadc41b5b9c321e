import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import seqio

from bertjax import batch
from bertjax.data import (
  document_files,
  features,
  pipeline,
  pretraining_tasks,
  sources,
  vocabularies,
)
from bertjax.errors import UserError

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


@pytest.fixture(scope='module')
def task(tmp_path_factory):
  folder = tmp_path_factory.mktemp('corpus')
  return make_task('small', folder, write_corpus(folder / 'text.txt'))


def make_task(name, folder, file, **options):
  source = sources.PreparedSource(
    document_files.TextFiles(file), str(folder / name), held_out_fraction=0.2
  )
  vocabulary = vocabularies.BertVocabulary(
    vocabularies.train(source.texts('train'), 400, cased=False), cased=False
  )
  return pretraining_tasks.register(name, source, vocabulary, **options)


def batches(task, count=None, **options):
  # Two streams instead of four: half the graphs to build.
  options = {
    'batch_size': B,
    'length': L,
    'predictions': P,
    'seed': 1,
    'streams': 2,
    **options,
  }
  made = pipeline.batches(task, **options)
  return made if count is None else take(iter(made), count)


def take(iterator, count):
  return [next(iterator) for _ in range(count)]


def assert_equal(some, others):
  for one, other in zip(some, others, strict=True):
    assert set(one) == set(other)
    for key in one:
      np.testing.assert_array_equal(one[key], other[key])


def slow(*values):
  return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize('sequences', [1, 3])
def test_batches_keep_the_contract(task, sequences):
  for example in batches(task, 5, sequences=sequences):
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


def test_rows_read_cls_a_sep_b_sep(task):
  vocabulary = (
    seqio.get_mixture_or_task(task).output_features['tokens'].vocabulary
  )
  for example in batches(task, 5):
    for tokens, types, segments in zip(
      example['tokens'], example['types'], example['segments'], strict=True
    ):
      end = segments.sum()
      seps = np.flatnonzero(tokens == vocabulary.sep_id)
      assert tokens[0] == vocabulary.cls_id and len(seps) == 2
      assert seps[1] == end - 1
      np.testing.assert_array_equal(types[:end], np.arange(end) > seps[0])


def test_the_same_seed_gives_the_same_batches_and_another_gives_others(task):
  first = batches(task, 6)
  assert_equal(first, batches(task, 6))
  other = batches(task, 6, seed=2)
  assert any(
    (a['tokens'] != b['tokens']).any()
    for a, b in zip(first, other, strict=True)
  )


def test_masks_are_new_at_every_epoch(task):
  seen = batches(task, 150)  # about ten epochs
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
    slow(np.arange(B).reshape(2, -1), {}),
    slow(np.arange(B).reshape(4, -1), {}),
    (np.arange(B).reshape(4, -1), PACKED),
    (np.arange(B).reshape(B, 1), {}),  # more processes than streams
    ([[0, 1, B - 1], range(2, B - 1)], {}),  # devices in another order
  ],
)
def test_processes_together_give_the_batches_of_one(task, rows, options):
  options = {'streams': 4, **options}
  parts = [batches(task, 6, process_rows=own, **options) for own in rows]
  order = np.argsort(np.concatenate(rows))
  together = [
    {k: np.concatenate([p[k] for p in step])[order] for k in step[0]}
    for step in zip(*parts, strict=True)
  ]
  assert_equal(together, batches(task, 6, **options))


@pytest.mark.parametrize(
  'count, options',
  [
    (0, {}),
    slow(3, {}),
    (90, {}),
    slow(0, PACKED),
    (7, PACKED),
    slow(90, PACKED),
  ],
)
def test_a_restored_position_continues_exactly(
  task, count, options, monkeypatch
):
  # Smaller windows of examples than 256: more of them are begun and ended.
  monkeypatch.setattr(
    features, 'pack', functools.partial(features.pack, window=48)
  )
  iterator = iter(batches(task, **options))
  take(iterator, count)
  position = iterator.position()
  expected = take(iterator, 10)
  fresh = iter(batches(task, **options))
  fresh.restore(position)
  assert_equal(take(fresh, 10), expected)
  # Across a smaller and a larger number of processes, too.
  parts = []
  for index in range(2):
    part = iter(batches(task, process_rows=HALVES[index], **options))
    part.restore(position)
    parts.append(take(part, 10))
  together = [
    {k: np.concatenate([a[k], b[k]]) for k in a}
    for a, b in zip(*parts, strict=True)
  ]
  assert_equal(together, expected)
  # Small enough for every checkpoint: no buffers are in it.
  assert sum(map(len, position.values())) < 200_000


ANOTHER_PROCESS = """
import importlib.util, pathlib, pickle, sys
spec = importlib.util.spec_from_file_location('tests_of_pipeline', sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
folder = pathlib.Path(sys.argv[2])
task = tests.make_task('other', folder, str(folder / 'text.txt'))
iterators = [iter(tests.batches(task, **o)) for o in ({}, tests.PACKED)]
if sys.argv[3] == 'save':
  for iterator in iterators:
    tests.take(iterator, 25)
  saved = [(i.position(), tests.take(i, 5)) for i in iterators]
  (folder / 'saved').write_bytes(pickle.dumps(saved))
else:
  saved = pickle.loads((folder / 'saved').read_bytes())
  for iterator, (position, expected) in zip(iterators, saved, strict=True):
    iterator.restore(position)
    tests.assert_equal(tests.take(iterator, 5), expected)
"""


@pytest.mark.slow
def test_a_position_is_restored_in_another_process(tmp_path):
  write_corpus(tmp_path / 'text.txt')
  for mode in ('save', 'load'):
    subprocess.run(
      [sys.executable, '-c', ANOTHER_PROCESS, __file__, str(tmp_path), mode],
      check=True,
      env={**os.environ, 'PYTHONPATH': ':'.join(sys.path)},
    )


def test_an_evaluation_counts_every_sequence_once(task):
  whole = list(batches(task, split='validation', epochs=1, shuffle=False))
  again = list(batches(task, split='validation', epochs=1, shuffle=False))
  assert_equal(whole, again)
  count = sum(int(b['pair_weights'].sum()) for b in whole)
  rows = sum(int((b['segments'].max(1) > 0).sum()) for b in whole)
  assert count == rows > 0
  # Rows one at a time need no padding, and none is left out.
  singly = batches(
    task, split='validation', epochs=1, shuffle=False, batch_size=2
  )
  assert rows == sum(int((b['segments'].max(1) > 0).sum()) for b in singly)
  # The padding rows of the last batches carry no weight at all.
  for example in whole:
    empty = example['segments'].max(1) == 0
    assert not example['weights'][empty].any()
  # Two processes see the same rows, as often.
  parts = [
    list(
      batches(
        task, split='validation', epochs=1, shuffle=False, process_rows=half
      )
    )
    for half in HALVES
  ]
  rows = sorted(
    row.tobytes() for b in whole for row in b['tokens'] if row.any()
  )
  split_rows = sorted(
    row.tobytes() for p in parts for b in p for row in b['tokens'] if row.any()
  )
  assert rows == split_rows


def test_packing_changes_no_sequence_and_fills_the_rows(task):
  apart, packed = [
    list(batches(task, epochs=1, **options))
    for options in ({**PACKED, 'sequences': 1}, PACKED)
  ]

  def tokens(made):
    return sorted(
      row[segments == number].tobytes()
      for b in made
      for row, segments in zip(b['tokens'], b['segments'], strict=True)
      for number in range(1, segments.max() + 1)
    )

  assert tokens(apart) == tokens(packed)
  for key in ('weights', 'targets', 'pair_labels', 'pair_weights'):
    assert sum(b[key].sum() for b in apart) == sum(b[key].sum() for b in packed)
  used_apart, used_packed = [
    sum((b['segments'].max(1) > 0).sum() for b in made)
    for made in (apart, packed)
  ]
  assert used_packed < 0.95 * used_apart


def test_train_and_held_out_share_no_text(tmp_path):
  file = write_corpus(tmp_path / 'text.txt')
  source = sources.PreparedSource(
    document_files.TextFiles(file), str(tmp_path / 'store'), 0.2
  )
  lines = {
    split: {line for text in source.texts(split) for line in text.split('\n')}
    for split in ('train', 'validation')
  }
  assert lines['train'] and lines['validation']
  assert not lines['train'] & lines['validation']


def test_single_segments_have_no_label(tmp_path):
  name = make_task(
    'single', tmp_path, write_corpus(tmp_path / 'text.txt'), next_sentence=False
  )
  for example in batches(name, 3):
    assert not example['pair_weights'].any() and not example['types'].any()
    assert example['weights'].any()


@pytest.mark.parametrize('unit', ['token', 'word', 'span'])
def test_every_unit_reaches_the_rate(tmp_path, unit):
  name = make_task(
    unit, tmp_path, write_corpus(tmp_path / 'text.txt'), mask_unit=unit
  )
  made = batches(name, 40)
  targets = sum(b['weights'].sum() for b in made)
  maskable = sum((b['segments'] > 0).sum() - 3 * B for b in made)
  # One third of a target at most is lost to rounding a row, whatever the unit.
  assert abs(targets - 0.15 * maskable) < 3 * np.sqrt(40 * B / 4) + 0.02 * (
    targets if unit == 'word' else 0
  )


def test_a_mixture_of_tasks_works_and_resumes(task, tmp_path):
  file = write_corpus(tmp_path / 'b.txt', seed=9)
  other = make_task('second', tmp_path, file)
  if 'both' in seqio.MixtureRegistry.names():
    seqio.MixtureRegistry.remove('both')
  # Mixtures want one vocabulary.
  vocabulary = (
    seqio.get_mixture_or_task(task).output_features['tokens'].vocabulary
  )
  pretraining_tasks.register(
    other, seqio.get_mixture_or_task(other).source, vocabulary
  )
  seqio.MixtureRegistry.add('both', [(task, 3), (other, 1)])
  iterator = iter(batches('both'))
  take(iterator, 7)
  position = iterator.position()
  expected = take(iterator, 7)
  fresh = iter(batches('both'))
  fresh.restore(position)
  assert_equal(take(fresh, 7), expected)


def test_an_unknown_task_is_refused_with_the_nearest(task):
  with pytest.raises(UserError, match="'smal'.*'small'"):
    batches('smal')


def test_a_unit_that_does_not_exist_is_refused(tmp_path):
  source = seqio.FunctionDataSource(
    lambda split, shuffle_files: None, splits=[]
  )
  vocabulary = seqio.ByteVocabulary()
  with pytest.raises(UserError, match='MASK_UNIT'):
    pretraining_tasks.register('x', source, vocabulary, mask_unit='sentence')


@pytest.mark.parametrize(
  'change, message',
  [
    ({'split': 'test'}, "one of train, validation, got 'test'"),
    ({'predictions': 33}, 'at most 32 predictions, .*batches.predictions'),
    (
      {'length': 4, 'predictions': 1},
      'expected 5 or more, .*got 4; set LENGTH',
    ),
  ],
)
def test_rows_and_splits_that_cannot_be_are_one_line(task, change, message):
  with pytest.raises(UserError, match=message) as raised:
    batches(task, **change)
  assert '\n' not in str(raised.value)
