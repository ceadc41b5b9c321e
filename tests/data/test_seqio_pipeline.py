"""seqio gives the batches of `bertjax.corpus.pipeline`, and tasks of one's own.

The corpora are those of tests/corpus/test_pipeline.py.
"""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from bertjax import batch
from bertjax.corpus import pipeline
from bertjax.corpus.mixtures import Mixture
from bertjax.data import pretraining_tasks, seqio_pipeline
from bertjax.errors import UserError
from bertjax.text import noises
from tests.corpus.test_pipeline import (
  HALVES,
  PACKED,
  B,
  L,
  P,
  assert_equal,
  prepare,
  take,
)

SIZES = {'batch_size': B, 'length': L, 'predictions': P, 'seed': 1}


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  return prepare(tmp_path_factory.mktemp('corpus'))


@pytest.fixture(scope='module')
def mixture(corpus, tmp_path_factory):
  folder = tmp_path_factory.mktemp('other')
  other = prepare(folder, seed=9, vocabulary=corpus.vocabulary)
  return Mixture([corpus, other], rates=[(0, (3, 1)), (5, (1, 3))])


@pytest.mark.parametrize(
  'options',
  [
    {},
    PACKED,
    {'process_rows': HALVES[1]},
    {**PACKED, 'process_rows': [0, 1, B - 1], 'streams': 4},
    {'split': 'validation', 'epochs': 2, 'shuffle': False},
    {'split': 'validation', 'epochs': 1, **PACKED},
  ],
)
@pytest.mark.parametrize('kind', ['corpus', 'mixture'])
def test_batches_are_those_without_seqio(request, kind, options):
  corpus = request.getfixturevalue(kind)
  pretraining_tasks.register('doors', corpus, batch_size=B)
  options = SIZES | {'streams': 2} | options
  wanted, found = (
    iter(door(of, **options))
    for door, of in (
      (pipeline.batches, corpus),
      (seqio_pipeline.batches, 'doors'),
    )
  )
  if 'epochs' in options:
    assert_equal(list(found), list(wanted))
  else:  # several epochs of either corpus
    assert_equal(take(found, 90), take(wanted, 90))


@pytest.mark.parametrize(
  'form, options',
  [
    ({'noise': 'replacement', 'pair_kind': 'sop'}, PACKED),
    ({'noise': 'insertion', 'mask_rate': (0.05, 0.15)}, {}),
    ({'noise': 'deletion', 'noise_rate': (0.1, 0.3)}, PACKED),
    (
      {'noise': 'permutation', 'pair_kind': 'same_document'},
      {**PACKED, 'predictions': 22, 'process_rows': HALVES[1]},
    ),
  ],
)
def test_noise_is_that_without_seqio(mixture, form, options):
  pretraining_tasks.register('noisy', mixture, batch_size=B, **form)
  options = SIZES | {'streams': 2} | options
  found = iter(seqio_pipeline.batches('noisy', **options))
  wanted = iter(pipeline.batches(mixture, **options, **form))
  found, wanted = take(found, 20), take(wanted, 20)
  assert_equal(found, wanted)
  batch.check(found[0], noises.keys_of(form['noise']))


@pytest.mark.parametrize('count', [0, 7, 40])
@pytest.mark.parametrize('options', [{}, PACKED])
def test_a_restored_position_continues_exactly(mixture, count, options):
  pretraining_tasks.register('resumed', mixture, batch_size=B)
  options = SIZES | {'streams': 2} | options
  iterator = iter(seqio_pipeline.batches('resumed', **options))
  take(iterator, count)
  position = iterator.position()
  expected = take(iterator, 5)
  fresh = iter(seqio_pipeline.batches('resumed', **options))
  fresh.restore(position)
  assert_equal(take(fresh, 5), expected)
  # Small enough for every checkpoint: no buffers are in it.
  assert sum(map(len, position.values())) < 200_000


def test_what_a_task_is_registered_with_reaches_its_rows(corpus):
  pretraining_tasks.register(
    'single', corpus, next_sentence=False, mask_rate=0.4, short=0.0
  )
  options = SIZES | {'predictions': 13}
  found = take(iter(seqio_pipeline.batches('single', **options)), 5)
  assert not any(b['pair_weights'].any() or b['types'].any() for b in found)
  targets = sum(b['weights'].sum() for b in found)
  maskable = sum(b['segments'].sum() - 2 * B for b in found)
  # 80 rows of some 23 tokens: three standard deviations of rounding are 0.007.
  assert abs(targets / maskable - 0.4) < 0.01
  own = pipeline.batches(
    corpus, **options, next_sentence=False, mask_rate=0.4, short=0.0
  )
  assert_equal(found, take(iter(own), 5))


def test_other_code_of_seqio_reads_the_task(corpus, mixture):
  pretraining_tasks.register('first', corpus)
  pretraining_tasks.register('second', mixture.corpora[1])
  if 'both' in seqio.MixtureRegistry.names():
    seqio.MixtureRegistry.remove('both')
  seqio.MixtureRegistry.add('both', [('first', 3), ('second', 1)])
  found = take(iter(seqio_pipeline.batches('both', **SIZES)), 3)
  for example in found:
    batch.check(example)
  task = seqio.get_mixture_or_task('first')
  (example,) = task.get_dataset({'tokens': L}, 'train', seed=0).take(1)
  assert example['tokens'].shape == (L,)
  assert example['targets'].shape == (5,)  # 15% of 32
  tokens = task.output_features['tokens'].vocabulary.decode_tf(
    example['tokens'][:1]
  )
  assert tokens.numpy() == b'[CLS]'


def of_rows(split, shuffle_files, seed=0):
  rows = batch.synthetic(8, L, P, 100, seed=0)
  return tf.data.Dataset.from_tensor_slices(rows)


@pytest.fixture
def own_task():
  """Returns a function that registers a task of one's own."""

  def add(change):
    seqio.TaskRegistry.add(
      'own',
      source=seqio.FunctionDataSource(of_rows, splits=['train']),
      preprocessors=[lambda dataset: dataset.map(change)],
      output_features={},
      shuffle_buffer_size=None,
    )
    return 'own'

  yield add
  seqio.TaskRegistry.remove('own')


def test_a_task_of_ones_own_gives_its_rows(own_task):
  own = own_task(lambda row: row)
  made = seqio_pipeline.batches(own, **SIZES, epochs=2, shuffle=False)
  rows = batch.synthetic(8, L, P, 100, seed=0)
  found = np.concatenate([x['tokens'] for x in made])
  # Two epochs of eight rows, of which each stream of four has two.
  found = found[found.any(1)]
  assert sorted(map(bytes, found)) == sorted([*map(bytes, rows['tokens'])] * 2)


@pytest.mark.parametrize(
  'change, words',
  [
    (
      lambda row: {k: x for k, x in row.items() if k != 'weights'},
      'examples with weights',
    ),
    (
      lambda row: row | {'pair_labels': row['pair_labels'][0]},
      'examples whose pair_labels have one dimension',
    ),
  ],
)
def test_examples_that_are_no_rows_are_refused(own_task, change, words):
  with pytest.raises(UserError, match=words) as error:
    seqio_pipeline.batches(own_task(change), **SIZES, shuffle=False)
  assert 'set seqio_pipeline.batches.task' in str(error.value)


@pytest.mark.parametrize(
  'task, more, words',
  [
    ('door', {}, "'door'.*'doors'"),
    ('doors', {'split': 'test'}, "one of train, validation, got 'test'"),
    ('doors', {'predictions': 33}, 'at most 32 predictions'),
  ],
)
def test_tasks_and_splits_that_are_not_there_are_one_line(
  corpus, task, more, words
):
  pretraining_tasks.register('doors', corpus)
  with pytest.raises(UserError, match=words):
    seqio_pipeline.batches(task, **(SIZES | more))
  with pytest.raises(UserError, match=r'register\.mask_unit'):
    pretraining_tasks.register('x', corpus, mask_unit='sentence')
  with pytest.raises(UserError, match='set NOISE'):
    pretraining_tasks.register('x', corpus, noise='swap')
