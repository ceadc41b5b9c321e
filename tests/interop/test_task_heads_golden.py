"""Fine-tuned models as transformers writes them give the same logits here.

The golden and what it holds: `experiments/golden/task_heads.py`.
"""

import pathlib

import numpy as np
import pytest
import safetensors.numpy

from bertjax.interop import huggingface
from bertjax.models.bert import BertForTask, reads_positions
from bertjax.tasks import kinds

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'task_heads.npz'


@pytest.mark.parametrize(
  'name, task',
  [
    (
      'BertForSequenceClassification',
      {'kind': 'classes', 'labels': ('bad', 'neither', 'good')},
    ),
    (
      'BertForTokenClassification',
      {'kind': 'tags', 'labels': ('O', 'B-X', 'I-X')},
    ),
    ('BertForQuestionAnswering', {'kind': 'spans', 'labels': ()}),
  ],
)
def test_logits_equal_those_of_transformers(tmp_path, name, task):
  arrays = np.load(GOLDEN)
  part = f'{name}/tensors/'
  safetensors.numpy.save_file(
    {
      key.removeprefix(part): arrays[key] * arrays['weight_unit']
      for key in arrays
      if key.startswith(part)
    },
    tmp_path / 'model.safetensors',
  )
  (tmp_path / 'config.json').write_text(str(arrays[f'{name}/config.json']))
  found = huggingface.read(str(tmp_path))
  assert found.task == task
  assert found.unused == ()

  described = kinds.of_json(task)
  head = kinds.head_of(described)
  outputs = kinds.find(described.kind).outputs(described)
  model = BertForTask(found.config, head, outputs)
  batch = {
    key.removeprefix('batch/'): arrays[key]
    for key in arrays
    if key.startswith('batch/')
  }
  logits = np.asarray(
    model.apply({'params': found.parameters}, batch, train=False)['logits']
  )
  expected = arrays[f'{name}/logits']
  if reads_positions(head):
    real = batch['segments'].astype(bool)
    logits, expected = logits[real], expected[real]
  else:
    logits = logits[:, 0]
  assert expected.std() > 0.05
  np.testing.assert_allclose(logits, expected, atol=1e-6)
