"""Fine-tuning tasks as seqio tasks, and GLUE from TensorFlow Datasets.

    task = seqio.get_mixture_or_task(finetuning_tasks.register(data_set))
    task.get_dataset(None, 'eval')             # {text_a, text_b, label, ...}
    task.metric_fns                            # of labels and predictions
    data_sets = finetuning_tasks.glue_from_tfds('data', ['SST-2', 'RTE'])

Examples do not depend on whether a file or TFDS holds them, nor metrics on
whether seqio or `finetune.fine_tune` computes them. Source: seqio's Task API.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from bertjax.data import tfds_source
from bertjax.errors import UserError
from bertjax.tasks import metrics, specs
from bertjax.tasks.data_sets import DataSet
from bertjax.tasks.examples import TextExample

# Text fields of TFDS's GLUE; a task uses the first row that it has all of.
_FIELDS = (
  ('premise', 'hypothesis'),
  ('sentence1', 'sentence2'),
  ('question1', 'question2'),
  ('question', 'sentence'),
  ('sentence',),
)


def register(data_set: DataSet, name: str | None = None) -> str:
  """Registers a text task in seqio's registry.

  Its splits are 'train' and the names of the evaluations. An example is
  {'text_a': string[], 'text_b': string[], empty if there is one text,
  'label': int32[] class, or float32[] number}.

  Args:
    data_set: of kind 'classes' or 'number'.
    name: to register the task by, replacing any other of this name; None:
      'finetune_' and the task's own name in lower case.

  Returns:
    The name.

  Raises:
    UserError: the task is of another kind.
  """
  task = data_set.task
  if task.kind not in ('classes', 'number'):
    raise UserError(f'seqio tasks have one label; {task.name} has {task.kind}')
  name = name or 'finetune_' + re.sub(r'\W', '_', task.name.lower())
  seqio.TaskRegistry.remove(name)
  dtypes = {
    'text_a': tf.string,
    'text_b': tf.string,
    'label': tf.int32 if task.kind == 'classes' else tf.float32,
  }
  readers = {'train': data_set.train, **data_set.evaluations}

  def dataset(split: str, shuffle_files: bool = False, seed=None):
    del shuffle_files, seed
    return tf.data.Dataset.from_generator(
      functools.partial(_records, readers[split], task),
      output_signature={
        key: tf.TensorSpec((), dtype) for key, dtype in dtypes.items()
      },
    )

  seqio.TaskRegistry.add(
    name,
    source=seqio.FunctionDataSource(dataset, splits=tuple(readers)),
    preprocessors=[],
    output_features={
      key: seqio.Feature(
        seqio.PassThroughVocabulary(1), add_eos=False, rank=0, dtype=dtype
      )
      for key, dtype in dtypes.items()
    },
    metric_fns=[functools.partial(_metrics, task)],
  )
  return name


def glue_from_tfds(
  data_dir: str, tasks: str | Sequence[str] | None = None
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
  if not found:
    raise UserError(
      f'expected GLUE tasks of TFDS in {data_dir}, found none; set DATA_DIR'
    )
  return found


def _data_set(task: specs.Task, data_dir: str) -> DataSet:
  folder = tfds_source.find_data_set(str(task.tfds), data_dir)
  builder = tfds.builder_from_directory(folder)
  splits = builder.info.splits
  dev = sorted(s for s in splits if s.startswith('validation'))
  if 'train' not in splits or not dev:
    raise UserError(
      f'expected the splits train and validation in {folder}, got '
      f'{", ".join(splits)}; set TASKS to a task with both'
    )
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


def _records(
  read: Callable[[], Iterable[TextExample]], task: specs.Task
) -> Iterator[dict[str, Any]]:
  for example in read():
    label = example.label
    if task.kind == 'classes':
      label = task.labels.index(label)
    a, b = (*example.texts, '')[:2]
    yield {'text_a': a, 'text_b': b, 'label': label}


def _metrics(task: specs.Task, targets, predictions) -> dict[str, float]:
  """Scores predictions against labels, or against records with a `label`."""
  labels = [x['label'] if isinstance(x, dict) else x for x in targets]
  return metrics.score(
    task.metrics, np.asarray(labels), np.asarray(predictions)
  )
