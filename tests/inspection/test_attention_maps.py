"""Maps against transformers, and the command that draws them.

The golden and what it holds: `experiments/golden/attention_maps.py`.
"""

import os
import pathlib

import flax.linen as nn
import gin
import jax
import numpy as np
import pytest

from bertjax import main
from bertjax.errors import UserError
from bertjax.inference.predictor import Predictor
from bertjax.inspection import attention_maps, head_importance, taps
from bertjax.inspection.attention_maps import WEIGHTS
from bertjax.interop import huggingface, names
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS
from bertjax.training import objectives

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
TOKENS = [*SPECIAL_TOKENS, *'abcdefgh', '<', '$']
CONFIG = EncoderConfig(
  vocabulary_size=16, width=8, layers=2, heads=2, feed_forward=16, positions=20
)


pytestmark = pytest.mark.usefixtures('compiled_quickly')


def read_golden():
  """Returns the model, its parameters, a batch, and what torch makes of it."""
  arrays = {}
  for key, array in np.load(GOLDEN / 'bert_2_layers.npz').items():
    several = enumerate(array) if '*' in key else [('', array)]
    arrays |= {key.replace('*', str(index)): part for index, part in several}
  fields = (
    'vocabulary_size',
    'width',
    'layers',
    'heads',
    'feed_forward',
    'positions',
  )
  config = EncoderConfig(
    **dict(zip(fields, arrays['sizes'].tolist(), strict=True))
  )
  weights = {
    key.removeprefix('weight/'): array * arrays['weight_unit']
    + np.float32(key.endswith('LayerNorm.weight'))
    for key, array in arrays.items()
    if key.startswith('weight/')
  }
  batch = {
    key.removeprefix('batch/'): array
    for key, array in arrays.items()
    if key.startswith('batch/')
  }
  return (
    BertForPreTraining(config),
    names.from_huggingface(weights, config, names.PRETRAINING),
    batch,
    np.load(GOLDEN / 'attention_maps.npz'),
  )


def test_weights_and_importance_equal_those_of_transformers():
  model, parameters, batch, golden = read_golden()
  found = taps.stack(taps.collect(model, parameters, batch, [WEIGHTS]), WEIGHTS)
  real = batch['segments'] > 0  # padding attends to what it likes
  assert golden['weights'].std() > 0.05
  np.testing.assert_allclose(
    np.moveaxis(found, 3, 2)[:, real],
    np.moveaxis(golden['weights'], 3, 2)[:, real],
    atol=1e-6,
  )
  assert golden['importance'].min() > 0.05
  np.testing.assert_allclose(
    head_importance.expected(
      objectives.MaskedLanguageModel(model), parameters, [batch]
    ),
    golden['importance'],
    rtol=1e-5,
    atol=1e-5,
  )


@pytest.fixture(scope='module')
def predictor():
  example = {
    key: np.zeros((1, 4), np.int32)
    for key in ('tokens', 'types', 'positions', 'segments', 'target_positions')
  }
  model = BertForPreTraining(CONFIG, next_sentence=False)
  shapes = jax.eval_shape(
    lambda: nn.unbox(model.init(jax.random.key(0), example, train=False))
  )['params']
  random = np.random.RandomState(0)
  parameters = jax.tree.map(
    lambda x: 0.5 * random.randn(*x.shape).astype(np.float32), shapes
  )
  return Predictor(CONFIG, parameters, Tokenizer(TOKENS, False))


@pytest.fixture(scope='module')
def directory(predictor, tmp_path_factory):
  folder = tmp_path_factory.mktemp('model')
  huggingface.save(
    str(folder), CONFIG, predictor.parameters, predictor.tokenizer
  )
  return str(folder)


def test_texts_are_looked_at_together_as_they_are_alone(predictor):
  texts = ['a', ('a b', 'c d e'), 'f [MASK] h']
  together = attention_maps.compute(predictor, texts)
  (alone,) = attention_maps.compute(predictor, texts[:1])
  np.testing.assert_allclose(together[0].weights, alone.weights, atol=1e-6)
  for maps in together:
    np.testing.assert_allclose(maps.weights.sum(-1), 1, atol=1e-5)
    assert maps.weights.shape == (2, 2) + 2 * (len(maps.tokens),)
  assert together[1].tokens == (
    '[CLS]',
    'a',
    'b',
    '[SEP]',
    'c',
    'd',
    'e',
    '[SEP]',
  )
  assert [maps.second for maps in together] == [None, 4, None]
  assert together[2].tokens[2] == '[MASK]'


def test_a_choice_of_layers_is_a_part_of_all_of_them(predictor):
  (every,), (some,) = (
    attention_maps.compute(predictor, ['a b c'], None, layers, True)
    for layers in (None, (1, 0))
  )
  assert some.layers == (1, 0)
  for name in ('weights', 'entropies', 'importance'):
    np.testing.assert_array_equal(
      getattr(some, name), getattr(every, name)[[1, 0]]
    )
  assert every.importance.min() > 0


def command(capsys, **macros):
  """Returns the exit status and what was printed on either stream."""
  main._FLAGS.unparse_flags()
  status = main.main(
    [
      'main',
      '--gin_file=recipes/attention_maps.gin',
      *(f'--gin.{name}={value}' for name, value in macros.items()),
    ]
  )
  gin.clear_config()
  return status, *capsys.readouterr()


def test_the_recipe_leaves_a_picture_a_text_and_a_page(
  directory, tmp_path, capsys, monkeypatch
):
  output = tmp_path / 'maps'
  status, printed, error = command(
    capsys,
    MODEL=directory,
    TEXTS='["a $ b $", ("a <", "c d")]',
    OUTPUT=output,
  )
  assert status == 0, error
  assert 'attention_maps.html' in printed
  assert sorted(os.listdir(output)) == [
    'attention_maps.html',
    'attention_maps_01.png',
    'attention_maps_02.png',
  ]
  assert (output / 'attention_maps_01.png').read_bytes()[:4] == b'\x89PNG'
  # Earlier maps make way, unless something else lies among them.
  again = {'MODEL': directory, 'TEXTS': 'a', 'OUTPUT': output}
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'a').write_text('b')
  status, printed, error = command(capsys, **again)
  assert status == 0, error
  assert 'warning: a is taken for a text, not for the file' in printed
  assert len(os.listdir(output)) == 2
  (output / 'attention_maps_01.png').write_bytes(b'\x89PNG of a user')
  status, _, error = command(capsys, **again)
  assert status == 2 and 'OVERWRITE=True' in error
  assert command(capsys, **again, OVERWRITE=True)[0] == 0


def test_a_full_disk_leaves_no_maps(directory, tmp_path, full_disk):
  settings = {'model': str(directory), 'texts': 'a'}
  attention_maps.write(**settings, output=str(tmp_path / 'before'))
  with full_disk(), pytest.raises(UserError, match='free space there or set O'):
    attention_maps.write(**settings, output=str(tmp_path / 'maps'))
  assert os.listdir(tmp_path) == ['before']


@pytest.mark.parametrize(
  'change, message',
  [
    ({'MODEL': '/nowhere'}, '/nowhere'),
    ({'TEXTS': '"' + 'a ' * 30 + '"'}, '32 tokens, more than LENGTH 18'),
    ({'LENGTH': 21}, 'expected a LENGTH of 3 to the 20 positions'),
    (
      {'LAYERS': '(0, 2)'},
      'expected layers from 0 to 1, each once, got (0, 2); set LAYERS',
    ),
    ({'LAYERS': '()'}, 'layers from 0 to 1, each once, got (); set LAYERS'),
    ({'LAYERS': '(0, 0)'}, 'each once, got (0, 0); set LAYERS'),
    ({'TEXTS': '""'}, 'has no tokens; set TEXTS'),
    ({'TEXTS': '[]'}, 'got none; set TEXTS'),
    ({'TEXTS': '[("a", "b", "c")]'}, 'pairs of texts in parentheses'),
    ({'OUTPUT': '/proc/maps_of_nothing/x'}, 'set OUTPUT'),
    ({'OUTPUT': __file__ + '/x'}, 'is no folder; set OUTPUT'),
    ({'OUTPUT': 'maps.html'}, 'a directory, whose name does not end in .html'),
  ],
)
def test_what_cannot_be_drawn_is_one_line(
  directory, tmp_path, capsys, errors, change, message
):
  macros = {
    'MODEL': directory,
    'TEXTS': 'a b',
    'LENGTH': 18,
    'OUTPUT': tmp_path / 'maps',
  } | change
  status, _, error = command(capsys, **macros)
  assert status == 2
  (line,) = errors(error)
  assert line.startswith('bertjax: ') and message in line
  assert not (tmp_path / 'maps').exists()


def test_arguments_of_other_types_are_refused(predictor):
  for arguments, name in (
    ({'length': '16'}, 'length'),
    ({'layers': 0.5}, 'layers'),
    ({'predictor': 'runs/x'}, 'predictor'),
  ):
    with pytest.raises(UserError, match=f'set attention_maps.*{name}'):
      attention_maps.compute(
        **({'predictor': predictor, 'texts': ['a']} | arguments)
      )


def test_importance_needs_a_head_and_is_left_out_without_one(
  predictor, tmp_path, capsys
):
  bare = {k: v for k, v in predictor.parameters.items() if k != 'mlm_head'}
  huggingface.save(str(tmp_path / 'bare'), CONFIG, bare, predictor.tokenizer)
  options = {
    'model': str(tmp_path / 'bare'),
    'texts': 'a b',
    'output': str(tmp_path / 'maps'),
  }
  with pytest.raises(UserError, match='no masked-LM head'):
    attention_maps.write(**options, importance=True)
  attention_maps.write(**options, dry_run=True)
  assert not (tmp_path / 'maps').exists()
  attention_maps.write(**options)
  assert 'no importance' in capsys.readouterr().out
