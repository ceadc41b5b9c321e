"""The sizes in gin_configs/models: read as text, built under eval_shape."""

import math
import pathlib
import re

import jax
import pytest

from bertjax import batch
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig

FOLDER = pathlib.Path(__file__).parents[2] / 'gin_configs' / 'models'
# Millions of parameters: Turc et al. 2019, table 1 (tiny to base); 336 for
# large is what its released checkpoints hold, 340 in Devlin et al. 2019.
PUBLISHED = {
  'tiny': 4.4,
  'mini': 11.3,
  'small': 29.1,
  'medium': 41.7,
  'base': 110.1,
  'large': 336.2,
}


def read_size(name):
  text = (FOLDER / f'bert_{name}.gin').read_text()
  return {
    field: int(value)
    for field, value in re.findall(
      r'^config\.EncoderConfig\.(\w+) = (\d+)$', text, re.MULTILINE
    )
  }


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameter_count_is_the_published_one(name):
  config = EncoderConfig(vocabulary_size=30522, **read_size(name))
  model = BertForPreTraining(config)
  example = batch.synthetic(
    batch_size=1, length=8, predictions=2, vocabulary_size=100, seed=0
  )
  parameters = jax.eval_shape(
    lambda: model.init(jax.random.key(0), example, train=False)
  )['params']
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(parameters))
  assert round(count / 1e6, 1) == PUBLISHED[name]


def test_every_size_is_tested_and_binds_its_shape_alone():
  assert {path.stem for path in FOLDER.glob('bert_*.gin')} == {
    f'bert_{name}' for name in PUBLISHED
  }
  for name in PUBLISHED:
    assert set(read_size(name)) == {'width', 'layers', 'heads', 'feed_forward'}
