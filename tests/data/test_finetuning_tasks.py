"""Of a data set that the test builds as TFDS stores GLUE."""

import numpy as np
import pytest
import seqio

from bertjax.data import finetuning_tasks
from bertjax.errors import UserError
from bertjax.finetuning import data_sets
from bertjax.finetuning.examples import TextExample

SENTENCES = {
    'train': [('fun !', 1), ('dull .', 0), ('a « gem »', 1)],
    'validation': [('bad', 0), ('good', 1)],
    'test': [('so so', -1)],
}


@pytest.fixture(scope='module')
def tfds_dir(tmp_path_factory) -> str:
  import tensorflow_datasets as tfds

  class Glue(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('2.0.0')
    RELEASE_NOTES = {'2.0.0': 'the first'}
    pkg_dir_path = tmp_path_factory.mktemp('glue')
    # TFDS looks for the file of a module whose name has two parts, and needs
    # the package importlib_resources for it.
    __module__ = 'glue'
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='sst2')]

    def _info(self):
      return tfds.core.DatasetInfo(builder=self, features=(
          tfds.features.FeaturesDict({
              'sentence': tfds.features.Text(),
              'label': tfds.features.ClassLabel(
                  names=['negative', 'positive']),
              'idx': np.int32})))

    def _split_generators(self, manager):
      return {split: self._generate_examples(split) for split in SENTENCES}

    def _generate_examples(self, split):
      for i, (sentence, label) in enumerate(SENTENCES[split]):
        yield i, {'sentence': sentence, 'label': label, 'idx': i}

  folder = str(tmp_path_factory.mktemp('tfds'))
  Glue(data_dir=folder, config='sst2').download_and_prepare(
      download_config=tfds.download.DownloadConfig(try_download_gcs=False))
  return folder


def test_tfds_gives_the_examples_that_files_give(tfds_dir, tmp_path):
  (data_set,) = finetuning_tasks.glue_from_tfds(tfds_dir, 'SST-2')
  folder = tmp_path / 'SST-2'
  folder.mkdir()
  for file, split in (('train', 'train'), ('dev', 'validation')):
    lines = [f'{sentence}\t{label}\n' for sentence, label in SENTENCES[split]]
    (folder / f'{file}.tsv').write_text('sentence\tlabel\n' + ''.join(lines))
  (expected,) = data_sets.glue(str(tmp_path), 'SST-2')
  assert data_set.task == expected.task
  for got, wanted in ((data_set.train(), expected.train()),
                      (data_set.evaluations['eval'](),
                       expected.evaluations['eval']())):
    assert sorted((x.texts, x.label) for x in got) == sorted(
        (x.texts, x.label) for x in wanted)


def test_a_task_that_is_not_on_disk_is_one_line(tfds_dir):
  with pytest.raises(UserError, match='no data set .glue/rte'):
    finetuning_tasks.glue_from_tfds(tfds_dir, 'RTE')


def test_a_registered_task_has_examples_and_metrics():
  examples = [TextExample(('a', 'b'), 'yes'), TextExample(('c',), 'no'),
              TextExample(('d',), 'no')]
  task = data_sets.Task('my-task', 'classes', ('no', 'yes'))
  name = finetuning_tasks.register(data_sets.DataSet(
      task, lambda: examples, {'eval': lambda: examples[1:]}))
  found = seqio.get_mixture_or_task(name)
  assert name == 'finetune_my_task' and set(found.splits) == {'train', 'eval'}
  records = list(found.get_dataset(
      None, 'train', shuffle=False).as_numpy_iterator())
  assert [(r['text_a'], r['text_b'], r['label']) for r in records] == [
      (b'a', b'b', 1), (b'c', b'', 0), (b'd', b'', 0)]
  (metric,) = found.metric_fns
  assert metric(records, [1, 0, 1]) == {'accuracy': pytest.approx(2 / 3)}


def test_several_labels_are_no_seqio_task():
  task = data_sets.Task('many', 'labels', ('a', 'b'))
  with pytest.raises(UserError, match='one label'):
    finetuning_tasks.register(data_sets.DataSet(task, list, {}))
