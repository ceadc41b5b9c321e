"""Of a data set that the test builds as TFDS stores GLUE."""

import numpy as np
import pytest

from bertjax.data import finetuning_tasks
from bertjax.errors import UserError
from bertjax.tasks import data_sets

SENTENCES = {
  'train': [('fun !', 1), ('dull .', 0), ('a « gem »', 1)],
  'validation': [('bad', 0), ('good', 1)],
  'test': [('so so', -1)],
}


@pytest.fixture(scope='module')
def tfds_dir(tmp_path_factory, store_in_tfds) -> str:
  from tensorflow_datasets import features

  folder = tmp_path_factory.mktemp('tfds')
  store_in_tfds(
    folder,
    'glue',
    {
      'sentence': features.Text(),
      'label': features.ClassLabel(names=['negative', 'positive']),
      'idx': np.int32,
    },
    {
      split: [
        {'sentence': sentence, 'label': label, 'idx': i}
        for i, (sentence, label) in enumerate(examples)
      ]
      for split, examples in SENTENCES.items()
    },
    config='sst2',
    version='2.0.0',
  )
  return str(folder)


def test_tfds_gives_the_examples_that_files_give(tfds_dir, tmp_path):
  (data_set,) = finetuning_tasks.glue_from_tfds(tfds_dir, 'SST-2')
  folder = tmp_path / 'SST-2'
  folder.mkdir()
  for file, split in (('train', 'train'), ('dev', 'validation')):
    lines = [f'{sentence}\t{label}\n' for sentence, label in SENTENCES[split]]
    (folder / f'{file}.tsv').write_text('sentence\tlabel\n' + ''.join(lines))
  (expected,) = data_sets.glue(str(tmp_path), 'SST-2')
  assert data_set.task == expected.task
  for got, wanted in (
    (data_set.train(), expected.train()),
    (data_set.evaluations['eval'](), expected.evaluations['eval']()),
  ):
    assert sorted((x.texts, x.label) for x in got) == sorted(
      (x.texts, x.label) for x in wanted
    )


def test_a_task_that_is_not_on_disk_is_one_line(tfds_dir):
  with pytest.raises(UserError, match='glue/sst2.*got .glue/rte'):
    finetuning_tasks.glue_from_tfds(tfds_dir, 'RTE')
