"""Averages of checkpoints are the sums that a user would write down."""

import numpy as np
import pytest
from flax import traverse_util

from bertjax.errors import UserError
from bertjax.models import tiling
from bertjax.models.config import EncoderConfig
from bertjax.runs import averaging, model_file
from bertjax.runs.checkpoints import Checkpoints
from bertjax.text.vocabulary_file import SPECIAL_TOKENS, write

CONFIG = EncoderConfig(
  vocabulary_size=8, width=4, layers=1, heads=2, feed_forward=4, positions=8
)
TABLE = 'embeddings/token/embedding'


def parameters(step):
  rng = np.random.default_rng(step)
  flat = {
    name: rng.normal(size=shape).astype(np.float32)
    for name, shape in tiling.shapes(CONFIG).items()
  }
  return traverse_util.unflatten_dict(flat, sep='/')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  with Checkpoints(str(folder / 'checkpoints'), keep=3) as checkpoints:
    for step in (0, 10, 20, 30):
      state = {'step': np.int32(step), 'parameters': parameters(step)}
      checkpoints.save(step, state)
  write([*SPECIAL_TOKENS, 'a', 'b', 'c'], str(folder / 'vocab.txt'), False)
  model_file.write(str(folder), {'': CONFIG})
  return str(folder)


@pytest.mark.parametrize(
  'arguments, weights',
  [
    ({'count': 3}, {10: 1, 20: 1, 30: 1}),
    ({'count': 1}, {30: 1}),
    ({'count': 2, 'step': 20}, {10: 1, 20: 1}),
    ({'count': 3, 'decay': 0.5}, {10: 0.25, 20: 0.5, 30: 1}),
  ],
)
def test_the_weighted_mean_of_the_last_ones(run, arguments, weights):
  found = averaging.read(run, **arguments)
  assert found.averaged == (*weights,) and found.step == max(weights)
  whole = sum(weights.values())
  flat = traverse_util.flatten_dict(found.parameters, sep='/')
  for name, array in flat.items():
    expected = sum(
      weight * traverse_util.flatten_dict(parameters(step), sep='/')[name]
      for step, weight in weights.items()
    )
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, expected / whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('arguments', [{'count': 4}, {'count': 2, 'step': 25}])
def test_checkpoints_that_are_not_there_are_told(run, arguments):
  with pytest.raises(UserError, match=r'\[0, 10, 20, 30\].*KEEP_CHECKPOINTS'):
    averaging.read(run, **arguments)


def test_a_directory_without_checkpoints_has_no_average(tmp_path):
  (tmp_path / 'config.json').write_text('{}')
  with pytest.raises(UserError, match='expected a run.*set AVERAGE to None'):
    averaging.read(str(tmp_path), 2)
