"""GLUE from TensorFlow Datasets, as tasks to fine-tune on.

    data_sets = finetuning_tasks.glue_from_tfds('data', ['SST-2', 'RTE'])
    next(iter(data_sets[0].train()))           # TextExample(('...',), ...)

The examples are those of GLUE's own files, see `data_sets.glue`.
"""

import functools
from collections.abc import Iterator, Sequence

from bertjax.data import tfds_source
from bertjax.data.quiet_tensorflow import tfds
from bertjax.errors import UserError, expect
from bertjax.tasks import specs
from bertjax.tasks.data_sets import DataSet
from bertjax.tasks.examples import TextExample
from bertjax.values import Place, checked

# Text fields of TFDS's GLUE; a task uses the first row that it has all of.
_FIELDS = (
  ('premise', 'hypothesis'),
  ('sentence1', 'sentence2'),
  ('question1', 'question2'),
  ('question', 'sentence'),
  ('sentence',),
)


@checked
def glue_from_tfds(
  data_dir: Place, tasks: str | Sequence[str] | None = None
) -> list[DataSet]:
  """Returns GLUE tasks that TFDS has on disk; downloads nothing.

  Args:
    data_dir: where TFDS keeps its data sets.
    tasks: names in `specs.GLUE`; None: all that are on disk.

  Raises:
    UserError: there is no such task, or it is not on disk.
  """
  wanted = [tasks] if isinstance(tasks, str) else tasks or list(specs.GLUE)
  found = []
  for name in wanted:
    try:
      found.append(_data_set(specs.find(name), data_dir))
    except UserError:
      if tasks is not None:
        raise
  expect(found, f'GLUE tasks of TFDS in {data_dir}', found, 'DATA_DIR')
  return found


def _data_set(task: specs.Task, data_dir: str) -> DataSet:
  folder = tfds_source.find_data_set(str(task.tfds), data_dir)
  builder = tfds.builder_from_directory(folder)
  splits = builder.info.splits
  dev = sorted(s for s in splits if s.startswith('validation'))
  both = f'the splits train and validation in {folder}'
  valid = 'train' in splits and dev
  expect(valid, both, list(splits), 'TASKS to a task with both')
  read = functools.partial(functools.partial, _examples, builder)
  evaluations = dict(
    zip(('eval', 'eval_mismatched'), map(read, dev), strict=False)
  )
  return DataSet(task, read('train'), evaluations)


def _examples(
  builder: tfds.core.DatasetBuilder, split: str
) -> Iterator[TextExample]:
  features = builder.info.features
  fields = next(x for x in _FIELDS if set(x) <= set(features))
  classes = getattr(features['label'], 'names', None)
  for record in tfds.as_numpy(builder.as_dataset(split=split)):
    label = record['label']
    if label < 0:
      label = None
    else:
      label = classes[label] if classes else float(label)
    texts = tuple(record[field].decode() for field in fields)
    yield TextExample(texts, label, int(record['idx']))
