"""RoBERTa and ModernBERT compute here what they compute in transformers.

The golden and what it holds: `experiments/golden/other_families.py`, which also
says how far torch's own float32 is from its float64: at most 1.3e-6 of the
largest element, and here at most 1e-5.
"""

import ast
import functools
import math
import pathlib
import re

import jax
import numpy as np
import optax
import pytest
import safetensors.numpy

from bertjax import batch
from bertjax.interop import config_json, huggingface, names
from bertjax.models.bert import BertForPreTraining, BertForTask, reads_positions
from bertjax.models.config import EncoderConfig
from bertjax.tasks import kinds

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'other_families.npz'
MODELS = ('roberta', 'modernbert', 'modernbert_biases')
TASKS = {
  'ForSequenceClassification': {
    'kind': 'classes',
    'labels': ('bad', 'neither', 'good'),
  },
  'ForTokenClassification': {'kind': 'tags', 'labels': ('O', 'B-X', 'I-X')},
  'ForQuestionAnswering': {'kind': 'spans', 'labels': ()},
}
TOLERANCE = 1e-5


@functools.cache
def load():
  return dict(np.load(GOLDEN))


def part(prefix):
  return {
    key.removeprefix(prefix): array
    for key, array in load().items()
    if key.startswith(prefix)
  }


def write(folder, model, suffix):
  """Writes the directory of a golden model: one encoder, and its own heads."""
  config = str(load()[f'{model}/{suffix}/config.json'])
  tensors = part(f'{model}/ForMaskedLM/tensors/')
  heads = ('lm_head.', 'decoder.')
  if suffix != 'ForMaskedLM':
    tensors = {k: x for k, x in tensors.items() if not k.startswith(heads)}
  tensors |= part(f'{model}/{suffix}/tensors/')
  unit = load()['weight_unit']
  for name, array in tensors.items():
    is_scale = 'norm' in name.lower() and name.endswith('.weight')
    tensors[name] = array * unit + np.float32(is_scale)
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
  (folder / 'config.json').write_text(config)
  return tensors


def assert_near(ours, theirs, name):
  scale = np.abs(theirs).max()
  # A key's bias adds the same to all scores of a query, so has no gradient.
  scale = 1.0 if name.endswith('key.bias') else scale
  assert scale > 0, name
  error = np.abs(np.asarray(ours) - theirs).max() / scale
  assert error <= TOLERANCE, f'{name}: {error:.1e}'


@pytest.mark.parametrize('model', MODELS)
def test_states_logits_loss_and_gradients_equal_those_of_transformers(
  tmp_path, model
):
  tensors = write(tmp_path, model, 'ForMaskedLM')
  found, batch = huggingface.read(str(tmp_path)), part('batch/')
  assert found.unused == () and found.task is None

  def loss_of(parameters):
    outputs = BertForPreTraining(found.config, next_sentence=False).apply(
      {'params': parameters}, batch, train=False
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(
      outputs['mlm_logits'], batch['targets']
    )
    weights = batch['weights']
    return (losses * weights).sum() / weights.sum(), outputs

  (loss, outputs), gradients = jax.value_and_grad(loss_of, has_aux=True)(
    found.parameters
  )
  theirs = part(f'{model}/ForMaskedLM/')
  real = batch['segments'][..., None]
  assert_near(outputs['hidden'] * real, theirs['hidden'] * real, 'hidden')
  assert_near(outputs['mlm_logits'], theirs['mlm_logits'], 'mlm_logits')
  assert_near(loss, theirs['loss'], 'loss')
  skipped = 2 if model == 'roberta' else 0
  ours = names.to_huggingface(gradients, found.config, skipped)
  assert ours.keys() == tensors.keys()
  for name, gradient in ours.items():
    assert_near(gradient, theirs[f'gradient/{name}'], name)


@pytest.mark.parametrize('suffix', TASKS)
@pytest.mark.parametrize('model', MODELS)
def test_logits_of_every_task_equal_those_of_transformers(
  tmp_path, model, suffix
):
  write(tmp_path, model, suffix)
  found, batch = huggingface.read(str(tmp_path)), part('batch/')
  assert found.task == TASKS[suffix] and found.unused == ()
  task = kinds.of_json(found.task)
  head = kinds.head_of(task)
  outputs = kinds.find(task.kind).outputs(task)
  logits = np.asarray(
    BertForTask(found.config, head, outputs).apply(
      {'params': found.parameters}, batch, train=False
    )['logits']
  )
  theirs = load()[f'{model}/{suffix}/logits']
  if reads_positions(head):
    real = batch['segments'][..., None]
    logits, theirs = logits * real, theirs * real
  else:
    logits = logits[:, 0]
  assert theirs.std() > 0.05
  assert_near(logits, theirs, suffix)


def test_the_window_and_the_pooling_of_the_golden_matter(tmp_path):
  write(tmp_path, 'modernbert', 'ForSequenceClassification')
  config = huggingface.read(str(tmp_path)).config
  batch = part('batch/')
  assert config.task_pooling == 'mean'
  assert (config.local_window, config.global_every) == (8, 3)
  assert config.layers > 3 and batch['tokens'].shape[1] > 2 * 8


FOLDER = pathlib.Path(__file__).parents[2] / 'gin_configs' / 'models'
# Parameters of transformers' ...ForMaskedLM on torch's meta device:
# `python experiments/golden/other_families.py counts`.
COUNTS = {
  'modernbert_base': (50368, 149655232),
  'modernbert_large': (50368, 395881664),
  'roberta_base': (50265, 124697433),
  'roberta_large': (50265, 355412057),
}


def read_fields(name):
  """Returns the fields of EncoderConfig that a file of a size binds."""
  text = (FOLDER / f'{name}.gin').read_text()
  fields = {}
  for included in re.findall(r"^include 'models/(\w+).gin'$", text, re.M):
    fields |= read_fields(included)
  # In a block, indented, or one line each.
  found = re.findall(
    r'^(?:  |config\.EncoderConfig\.)(\w+) = (.+)$', text, re.M
  )
  return fields | {field: ast.literal_eval(value) for field, value in found}


@pytest.mark.parametrize('name', COUNTS)
def test_full_sizes_have_as_many_parameters_as_those_of_transformers(name):
  vocabulary, count = COUNTS[name]
  config = EncoderConfig(vocabulary_size=vocabulary, **read_fields(name))
  model = BertForPreTraining(config, next_sentence=False)
  example = batch.synthetic(1, 8, 2, 100, seed=0)
  parameters = jax.eval_shape(
    lambda: model.init(jax.random.key(0), example, train=False)
  )['params']
  ours = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(parameters))
  # RoBERTa's table of positions has two rows more there.
  more = 2 * config.width if name.startswith('roberta') else 0
  assert ours + more == count
  family = config_json.family_of(config)
  assert family.title.lower() == name.split('_')[0]
