import json
import os
import subprocess
import sys
from collections import Counter

import pytest
import seqio
import tensorflow as tf

from bertjax.data import (
  document_files,
  python_documentation,
  sources,
  text_store,
  tfds_source,
)
from bertjax.errors import UserError


def prepared_source(tmp_path, documents: int, fraction: float = 0.2):
  path = tmp_path / f'{documents}.txt'
  path.write_text('\n\n'.join(f'document {n}' for n in range(documents)))
  return sources.from_spec(str(path), str(tmp_path / 'store'), None, fraction)


def texts(dataset) -> list[str]:
  batches = dataset.batch(500).as_numpy_iterator()
  return [text.decode() for batch in batches for text in batch['text']]


def symbolic(dataset):
  options = tf.data.Options()
  options.deterministic = True
  options.experimental_symbolic_checkpoint = True
  return dataset.with_options(options)


def shards(source, split, count, **arguments) -> list[list[str]]:
  return [
    texts(
      source.get_dataset(
        split, shard_info=seqio.ShardInfo(index, count), **arguments
      )
    )
    for index in range(count)
  ]


@pytest.fixture(scope='module')
def large(tmp_path_factory):
  """A source of 2,000 documents, too many for the rule of small corpora."""
  return prepared_source(tmp_path_factory.mktemp('large'), 2000)


def test_nothing_is_prepared_before_it_is_needed(tmp_path):
  source = prepared_source(tmp_path, 10)
  assert not (tmp_path / 'store').exists()
  assert '10 documents' in source.report()
  assert (tmp_path / 'store').exists()


def test_records_are_documents_and_their_hashes(large):
  example = next(iter(large.get_dataset('train')))
  assert example['document'].dtype == tf.int64
  assert example['document'].shape == example['text'].shape == ()
  spec = large.get_dataset('train').element_spec
  assert spec == {
    'document': tf.TensorSpec([], tf.int64),
    'text': tf.TensorSpec([], tf.string),
  }
  rows = text_store.read_rows(large.prepared.path, 'train')
  assert int(example['document']) in rows[:, 0]


def test_an_epoch_has_every_text_once_and_splits_share_none(large):
  found = {split: texts(large.get_dataset(split)) for split in large.splits}
  assert sorted(found['train'] + found['validation']) == sorted(
    f'document {n}' for n in range(2000)
  )
  assert sorted(large.texts('train')) == sorted(found['train'])


@pytest.mark.parametrize('split', ['train', 'validation'])
@pytest.mark.parametrize('count', [1, 3, 8])
@pytest.mark.parametrize('shuffle', [True, False])
def test_shards_divide_a_split_evenly(large, split, count, shuffle):
  parts = shards(large, split, count, shuffle=shuffle, seed=5)
  assert sorted(sum(parts, [])) == sorted(large.texts(split))
  lengths = list(map(len, parts))
  assert max(lengths) - min(lengths) <= 1


def test_every_shard_reads_a_small_corpus_whole_in_its_own_order(tmp_path):
  small = prepared_source(tmp_path, 100)
  parts = shards(small, 'train', 4, seed=5)
  want = sorted(small.texts('train'))
  assert all(sorted(part) == want for part in parts)
  assert len(set(map(tuple, parts))) == 4
  parts = shards(small, 'validation', 4)
  assert sorted(sum(parts, [])) == sorted(small.texts('validation'))


@pytest.mark.parametrize('documents', [20, 50, 200])
def test_few_held_out_documents_stay_together(tmp_path, documents):
  source = prepared_source(tmp_path, documents)
  parts = shards(source, 'validation', 4)
  want = sorted(source.texts('validation'))
  assert sorted(sum(parts, [])) == want
  filled = [part for part in parts if part]
  assert min(map(len, filled)) >= min(4, len(want))
  assert len(filled) == 4 or len(want) < 4 * (len(filled) + 1)


def test_the_seed_decides_the_order(large):
  def order(seed):
    return texts(large.get_dataset('train', seed=seed))

  assert order(1) == order(1)
  assert order(None) == order(0)
  assert len({tuple(order(seed)) for seed in (0, 1, 2, 2**31)}) == 4
  unshuffled = texts(large.get_dataset('train', shuffle=False))
  assert unshuffled == list(large.texts('train')) != order(0)


def test_every_epoch_has_an_order_of_its_own(large):
  size = large.prepared.splits['train']['pieces']
  found = texts(large.get_dataset('train', seed=3).repeat(3))
  epochs = [tuple(found[i * size : (i + 1) * size]) for i in range(3)]
  assert len(set(epochs)) == 3
  assert len(set(map(tuple, map(sorted, epochs)))) == 1


def test_shuffling_moves_texts_as_far_as_chance_would(large):
  place = {text: i for i, text in enumerate(large.texts('train'))}
  found = texts(large.get_dataset('train', seed=4))
  size = len(found)
  # In a random permutation the mean distance is size / 3, and its standard
  # deviation size x sqrt(2 / 45 / size): 0.006 here; 0.03 is 5 of them.
  moved = sum(abs(place[text] - i) for i, text in enumerate(found)) / size**2
  assert abs(moved - 1 / 3) < 0.03
  # Neighbours stay neighbours (in order) about once in all.
  following = sum(
    place[b] == place[a] + 1 for a, b in zip(found, found[1:], strict=False)
  )
  assert following < 8  # Poisson of mean 1: 1e-5


# Two shards of the train split, three epochs each; where to save and resume.
_CONTINUE = """
import json, sys
import seqio
import tensorflow as tf
from bertjax.data import document_files, sources

path, directory, save, restore, count = sys.argv[1:]
source = sources.PreparedSource(document_files.TextFiles(path), directory, 0.2)
dataset = source.get_dataset(
    'train', seed=7, shard_info=seqio.ShardInfo(1, 2)
).repeat().batch(7)
options = tf.data.Options()
options.experimental_symbolic_checkpoint = True
iterator = iter(dataset.with_options(options))
checkpoint = tf.train.Checkpoint(iterator=iterator)
if restore:
  checkpoint.read(restore).assert_existing_objects_matched()
found = [next(iterator)['text'].numpy().tolist() for _ in range(int(count))]
if save:
  checkpoint.write(save)
print(json.dumps([[x.decode() for x in batch] for batch in found]))
"""


@pytest.mark.slow
def test_another_process_continues_exactly_where_one_stopped(tmp_path, large):
  reader, directory = large.reader, large.directory
  size = len(shards(large, 'train', 2)[1])

  def run(save, restore, count):
    command = [sys.executable, '-c', _CONTINUE, reader.patterns, directory]
    result = subprocess.run(
      [*command, save, restore, str(count)], capture_output=True, check=True
    )
    return json.loads(result.stdout)

  # The second epoch is under way when it stops, and over before the end.
  middle, end = size * 3 // 2 // 7, size * 3 // 7
  first = run(f'{tmp_path}/at', '', middle)
  second = run('', f'{tmp_path}/at', end - middle)
  dataset = large.get_dataset('train', seed=7, shard_info=seqio.ShardInfo(1, 2))
  want = texts(dataset.repeat().take(end * 7))
  assert sum(first + second, []) == want


@pytest.mark.parametrize('kind', ['small', 'tfds'])
def test_a_position_is_small_and_exact_everywhere_in_an_epoch(
  tmp_path, tfds_dir, kind
):
  def batches():
    if kind == 'small':
      source = prepared_source(tmp_path, 20)
    else:
      source = tfds_source.TfdsTextSource('poems', tfds_dir)
    dataset = source.get_dataset(
      'train', seed=3, shard_info=seqio.ShardInfo(0, 2)
    )
    return iter(symbolic(dataset.repeat().batch(3)))

  def take(iterator, count):
    return [next(iterator)['text'].numpy().tolist() for _ in range(count)]

  want = take(batches(), 60)
  for place in (0, 1, 4, 5, 6, 23, 24, 25, 40):
    iterator = batches()
    assert take(iterator, place) == want[:place]
    path = tf.train.Checkpoint(iterator=iterator).write(f'{tmp_path}/at')
    assert os.path.getsize(f'{path}.data-00000-of-00001') < 50_000
    iterator = batches()
    take(iterator, 2)  # it need not be new
    checkpoint = tf.train.Checkpoint(iterator=iterator)
    checkpoint.read(path).assert_existing_objects_matched()
    assert take(iterator, 60 - place) == want[place:], place


@pytest.fixture(scope='session')
def tfds_dir(tmp_path_factory, store_in_tfds) -> str:
  """A folder where TFDS keeps 'poems' and 'songs/old', in several files."""
  from tensorflow_datasets import features

  poems = [
    {
      'text': f'Line one.\r\n\n  Line \0two.\nPoem {number}.\n',
      'title': str(number),
    }
    for number in range(200)
  ]
  poems += [
    {'text': b'caf\xe9', 'title': 'invalid'},
    {'text': ' \n\0', 'title': 'empty'},
  ]
  folder = tmp_path_factory.mktemp('tfds')
  columns = {'text': features.Text(), 'title': features.Text()}
  store_in_tfds(
    folder, 'poems', columns, {'train': poems}, version='1.2.0', shards=4
  )
  store_in_tfds(
    folder,
    'songs',
    columns,
    {'test': poems},
    config='old',
    version='1.2.0',
    shards=4,
  )
  return str(folder)


POEMS = {f'Line one.\nLine two.\nPoem {number}.' for number in range(200)}


def test_tfds_texts_are_clean_and_each_in_one_split(tfds_dir):
  source = sources.from_spec('tfds:poems', 'unused', tfds_dir, 0.2)
  found = {split: list(source.texts(split)) for split in source.splits}
  assert sorted(found['train'] + found['validation']) == sorted(
    POEMS | {'caf\ufffd'}
  )
  # 40 expected; 4 standard deviations of the binomial are 23.
  assert 17 <= len(found['validation']) <= 63
  assert source.get_dataset('train').element_spec == {
    'document': tf.TensorSpec([], tf.int64),
    'text': tf.TensorSpec([], tf.string),
  }
  assert source.report().startswith('202 documents of tfds:poems; about 20.0%')
  assert not os.path.exists('unused')


@pytest.mark.parametrize('split', ['train', 'validation'])
@pytest.mark.parametrize('count', [1, 2, 4, 8])
def test_tfds_shards_divide_a_split(tfds_dir, split, count):
  source = tfds_source.TfdsTextSource('poems', tfds_dir, 'text', 0.2)
  assert len(source.list_shards(split)) == 4
  found = []
  for index in range(count):
    dataset = source.get_dataset(
      split, seed=index, shard_info=seqio.ShardInfo(index, count)
    )
    found += texts(dataset)
  assert Counter(found) == Counter(source.texts(split))


def test_tfds_order_depends_on_the_seed(tfds_dir):
  source = tfds_source.TfdsTextSource('poems', tfds_dir)

  def order(seed):
    return texts(source.get_dataset('train', seed=seed))

  assert order(1) == order(1)
  assert len({tuple(order(seed)) for seed in range(4)}) > 1


def test_the_latest_version_of_a_tfds_set_is_read(tfds_dir, tmp_path):
  for name in ('a/1.9.0', 'a/1.10.0', 'b/en/2.0.0', 'b/de/1.0.0'):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / 'dataset_info.json').write_text('{}')

  def find(name):
    return tfds_source.find_data_set(name, str(tmp_path))

  assert find('a') == f'{tmp_path}/a/1.10.0'
  assert find('a:1.9.0') == f'{tmp_path}/a/1.9.0'
  assert find('b/en') == f'{tmp_path}/b/en/2.0.0'
  with pytest.raises(UserError, match=r'b/en:2\.0\.0'):
    find('b')
  with pytest.raises(
    UserError,
    match='with data sets, .*b/en.; set DATA_DIR or pretraining_tasks',
  ):
    tfds_source.find_data_set('a', str(tmp_path / 'b/en'))


@pytest.mark.parametrize(
  'spec, expected',
  [
    ('tfds:poem', 'poems:1.2.0'),
    ('tfds:poems:9.9.9', 'poems:1.2.0'),
    ('tfds:songs/old', "a split 'train' in tfds:songs/old, got ['test']"),
    ('tfds:wikipedia', 'nothing is downloaded'),
  ],
)
def test_a_tfds_set_that_is_not_there_is_refused(tfds_dir, spec, expected):
  with pytest.raises(UserError) as error:
    sources.from_spec(spec, 'unused', tfds_dir).report()
  assert expected in str(error.value) and '\n' not in str(error.value)
  with pytest.raises(UserError, match='set DATA_DIR or pretraining_tasks'):
    sources.from_spec(spec, 'unused').report()


def test_a_field_that_a_tfds_set_lacks_is_refused(tfds_dir):
  source = tfds_source.TfdsTextSource('poems', tfds_dir, 'body')
  with pytest.raises(
    UserError, match=r"a field 'body' in tfds:poems, got \['text', 'title'\]"
  ):
    source.get_dataset('train')


def test_a_specification_names_its_source(tmp_path):
  def reader(spec):
    return sources.from_spec(spec, str(tmp_path)).reader

  (tmp_path / 'a.txt').write_text('one')
  assert reader('python_documentation') == (
    python_documentation.PythonDocumentation()
  )
  for spec in (f'{tmp_path}/a.txt', [f'{tmp_path}/*.txt']):
    assert reader(spec) == document_files.TextFiles(spec)
  own = document_files.TextFiles(f'{tmp_path}/a.txt')  # or any other reader
  assert reader(own) is own
  with pytest.raises(UserError, match='no file matches'):
    reader(f'{tmp_path}/b.txt')
  with pytest.raises(UserError, match="TEXT_COLUMN 'body', got plain text al"):
    sources.from_spec(f'{tmp_path}/a.txt', '', text_column='body')


def test_a_seqio_task_reads_a_source_by_shards(tmp_path, large):
  seqio.TaskRegistry.add(
    'test_sources',
    source=large,
    preprocessors=[],
    output_features={},
    shuffle_buffer_size=None,
  )
  try:
    task = seqio.get_mixture_or_task('test_sources')
    found = []
    for index in range(3):
      dataset = task.get_dataset(
        split='train',
        shuffle=True,
        seed=index,
        num_epochs=1,
        shard_info=seqio.ShardInfo(index, 3),
      )
      found += texts(dataset)
  finally:
    seqio.TaskRegistry.remove('test_sources')
  assert sorted(found) == sorted(large.texts('train'))


def test_text_that_a_run_wrote_is_refused(tmp_path):
  (tmp_path / 'a.txt').write_text('A cat.\n\nA dog.\n')
  corpus = str(tmp_path / 'corpus')
  assert 'documents' in sources.from_spec(str(tmp_path), corpus).report()
  with pytest.raises(UserError, match='/index.json, which a run wrote; move'):
    sources.from_spec(str(tmp_path), corpus)
  run = tmp_path / 'a_run'
  run.mkdir()
  (run / 'config.gin').write_text('SEED = 0')
  sources.from_spec(str(run), corpus)
  (run / '.lock').touch()
  with pytest.raises(UserError, match='/config.gin, which a run wrote; move'):
    sources.from_spec(str(tmp_path), corpus)
  sources.from_spec(f'{tmp_path}/a.txt', corpus)


def test_a_name_that_is_nearly_one_of_ours_is_told(tmp_path):
  with pytest.raises(UserError, match="did you mean 'python_documentation'"):
    sources.from_spec('python_documentaton', str(tmp_path))
