"""The whole model: equal to Hugging Face's, and its properties by variant.

The goldens and what they hold: `experiments/golden/bert_for_pretraining.py`.
"""

import dataclasses
import math
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.interop import names
from bertjax.models.attention_mask import AttentionMask
from bertjax.models.bert import Bert, BertForPreTraining, BertForTask
from bertjax.models.config import EncoderConfig
from bertjax.models.encoder import Encoder
from bertjax.training.abstract_objective import cross_entropy

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
TINY = EncoderConfig(
  vocabulary_size=60, width=32, layers=2, heads=4, feed_forward=64, positions=24
)
VARIANTS = {
  'both_heads': BertForPreTraining(TINY),
  'without_next_sentence': BertForPreTraining(TINY, next_sentence=False),
  'orders_and_noise': BertForPreTraining(
    TINY, pair_kind='sop', noise_target='detection'
  ),
  'bfloat16_products': BertForPreTraining(
    dataclasses.replace(TINY, dtype='bfloat16')
  ),
}
# Of pairs there are orders; architectures are those of test_variants.py.
each_variant = pytest.mark.parametrize(
  'model',
  [VARIANTS[name] for name in VARIANTS if name != 'both_heads'],
  ids=[name for name in VARIANTS if name != 'both_heads'],
)


def make_batch(rows=3, length=16, targets=4):
  """Row r holds length - 3 r tokens of two types, then padding."""
  random = np.random.RandomState(0)
  column = np.arange(length, dtype=np.int32)
  lengths = length - 3 * np.arange(rows)[:, None]
  segments = (column < lengths).astype(np.int32)
  return {
    'tokens': segments * random.randint(5, 50, (rows, length)),
    'types': segments * (column >= lengths // 2),
    'positions': np.tile(column, (rows, 1)),
    'segments': segments,
    'target_positions': np.tile(1 + np.arange(targets), (rows, 1)),
    'targets': random.randint(5, 50, (rows, targets)),
    'weights': np.ones((rows, targets), np.float32),
    'first_positions': np.zeros((rows, 1), np.int32),
    'pair_labels': np.arange(rows)[:, None] % 2,
    'pair_weights': np.ones((rows, 1), np.float32),
  }


def init(model, batch):
  return nn.unbox(model.init(jax.random.key(0), batch, train=False))['params']


def mean_cross_entropy(logits, labels, weights):
  losses = -jnp.take_along_axis(
    jax.nn.log_softmax(logits), labels[..., None], axis=-1
  )[..., 0]
  return (losses * weights).sum() / weights.sum()


def loss_and_outputs(parameters, model, batch, **options):
  outputs = model.apply({'params': parameters}, batch, **options)
  loss = mean_cross_entropy(
    outputs['mlm_logits'], batch['targets'], batch['weights']
  )
  if model.next_sentence:
    loss += mean_cross_entropy(
      outputs[f'{model.pair_kind}_logits'],
      batch['pair_labels'],
      batch['pair_weights'],
    )
  if model.noise_target == 'detection':
    labels, weights = batch['tokens'] % 2, batch['segments']
    loss += mean_cross_entropy(outputs['detection_logits'], labels, weights)
  return loss, outputs


def flat(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def load_golden(name):
  """Returns the configuration, the weights by name, and the other arrays."""
  arrays = {}
  for key, array in np.load(GOLDEN / f'{name}.npz').items():
    if '*' in key:
      arrays |= {
        key.replace('*', str(index)): layer for index, layer in enumerate(array)
      }
    else:
      arrays[key] = array
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
  weights = {}
  for key, array in arrays.items():
    if key.startswith('weight/'):
      offset = key.endswith('LayerNorm.weight')
      weights[key.removeprefix('weight/')] = array * arrays[
        'weight_unit'
      ] + np.float32(offset)
  return config, weights, arrays


@pytest.mark.parametrize(
  'golden, tolerance',
  [
    ('bert_2_layers', 1e-5),
    ('bert_12_layers', 1e-4),  # rounding grows with depth, torch's own too
  ],
)
def test_outputs_loss_and_every_gradient_equal_hugging_face(golden, tolerance):
  config, weights, arrays = load_golden(golden)
  parameters = names.from_huggingface(weights, config, names.PRETRAINING)
  batch = {
    key.removeprefix('batch/'): array
    for key, array in arrays.items()
    if key.startswith('batch/')
  }
  # Not under jit: at this width XLA's CPU compiler fuses the whole residual
  # stream into each of its readers and takes a minute for 12 layers.
  (loss, outputs), gradients = jax.value_and_grad(
    loss_and_outputs, has_aux=True
  )(parameters, BertForPreTraining(config), batch, train=False)

  ours = {
    f'gradient/{name}': gradient
    for name, gradient in names.to_huggingface(gradients, config).items()
  }
  ours |= {
    'loss': loss,
    'mlm_logits': outputs['mlm_logits'],
    'nsp_logits': outputs['nsp_logits'],
  }
  # What a padding position holds is nobody's business: theirs attends, ours
  # does not.
  real = batch['segments'][..., None]
  ours['hidden'] = outputs['hidden'] * real
  theirs = {
    name: arrays[name]
    for name in arrays
    if not name.startswith(('weight', 'batch/', 'sizes'))
  }
  theirs['hidden'] = theirs['hidden'] * real

  assert set(ours) == set(theirs)
  for name, array in theirs.items():
    # The gradient of a key's bias is zero in exact arithmetic: the same is
    # added to every score of a query, and softmax does not see it.
    scale = 1.0 if name.endswith('key.bias') else np.abs(array).max()
    error = np.abs(ours[name] - array).max() / scale
    assert error <= tolerance, f'{name}: {error:.1e}'


@each_variant
def test_outputs_have_the_promised_shapes_and_dtypes(model):
  batch, config = make_batch(), model.config
  outputs = jax.eval_shape(
    lambda: model.init_with_output(jax.random.key(0), batch, train=False)
  )[0]
  expected = {
    'hidden': ((3, 16, config.width), config.compute_dtype),
    'mlm_logits': ((3, 4, config.vocabulary_size), 'float32'),
  }
  if model.next_sentence:
    expected |= {
      'pooled': ((3, 1, config.width), config.compute_dtype),
      f'{model.pair_kind}_logits': ((3, 1, 2), 'float32'),
    }
  if model.noise_target == 'detection':
    expected['detection_logits'] = ((3, 16, 2), 'float32')
  assert {
    name: (array.shape, array.dtype) for name, array in outputs.items()
  } == expected


@each_variant
def test_padding_does_not_change_real_tokens(model):
  batch = make_batch()
  parameters = init(model, batch)
  padding = batch['segments'] == 0
  disturbed = batch | {
    'tokens': np.where(padding, 7, batch['tokens']),
    'types': np.where(padding, 1, batch['types']),
  }
  shorter = {
    key: array[1:, :13] if array.shape == (3, 16) else array[1:]
    for key, array in batch.items()
  }
  base, other, cut = (
    model.apply({'params': parameters}, rows, train=False)
    for rows in (batch, disturbed, shorter)
  )
  for name in ('mlm_logits', 'nsp_logits'):
    if name in base:
      np.testing.assert_array_equal(base[name], other[name])
  real = ~padding[..., None]
  np.testing.assert_array_equal(base['hidden'] * real, other['hidden'] * real)
  # Without the padding sums have fewer terms and may be ordered otherwise.
  tolerance = 1e-5 if model.config.compute_dtype == 'float32' else 0.02
  np.testing.assert_allclose(
    base['mlm_logits'][1:], cut['mlm_logits'], atol=tolerance
  )


@each_variant
def test_a_packed_row_equals_its_sequences_apart(model):
  apart = make_batch(rows=2, length=8, targets=2)
  apart['segments'][:] = 1
  packed = {key: array.reshape(1, -1) for key, array in apart.items()}
  packed['segments'] = np.repeat([[1, 2]], 8, axis=1)
  for key in ('target_positions', 'first_positions'):
    packed[key] = (apart[key] + [[0], [8]]).reshape(1, -1)
  parameters = init(model, apart)
  expected = model.apply({'params': parameters}, apart, train=False)
  got = model.apply({'params': parameters}, packed, train=False)
  tolerance = 1e-5 if model.config.compute_dtype == 'float32' else 0.02
  for name, array in expected.items():
    np.testing.assert_allclose(
      np.asarray(got[name], np.float32),
      np.asarray(array, np.float32).reshape(got[name].shape),
      atol=tolerance,
    )


@each_variant
def test_a_row_of_padding_alone_gives_finite_numbers(model):
  batch = make_batch()
  parameters = init(model, batch)
  batch['segments'][0] = 0
  (loss, outputs), gradients = jax.value_and_grad(
    loss_and_outputs, has_aux=True
  )(parameters, model, batch, train=False)
  for leaf in jax.tree.leaves((loss, outputs, gradients)):
    assert np.isfinite(leaf).all()


@each_variant
def test_every_gradient_is_finite_and_not_zero(model):
  batch = make_batch()
  parameters = init(model, batch)
  gradients = flat(
    jax.grad(loss_and_outputs, has_aux=True)(
      parameters, model, batch, train=True, rngs={'dropout': jax.random.key(1)}
    )[0]
  )
  for path, gradient in gradients.items():
    gradient = np.asarray(gradient, np.float32)
    assert np.isfinite(gradient).all(), path
    if path.endswith('position/embedding'):
      gradient = gradient[:16]  # the batch is 16 long
    if not path.endswith('key/bias'):  # zero in exact arithmetic
      assert (gradient != 0).any(axis=-1).all(), path


@each_variant
def test_every_parameter_names_its_logical_axes(model):
  variables = jax.eval_shape(
    lambda: model.init(jax.random.key(0), make_batch(), train=False)
  )
  known = {
    'width',
    'heads',
    'head_width',
    'feed_forward',
    'vocabulary',
    'positions',
    'types',
    'classes',
  }
  boxes = jax.tree.leaves(
    variables, is_leaf=lambda leaf: isinstance(leaf, nn.meta.AxisMetadata)
  )
  for box in boxes:
    assert isinstance(box, nn.LogicallyPartitioned)
    assert len(box.names) == box.value.ndim
    named = [name for name in box.names if name is not None]
    assert named and set(named) <= known and len(set(named)) == len(named)


def test_layers_in_a_loop_drop_other_elements_out():
  config = dataclasses.replace(TINY, layers=1, scan_layers=True, dropout=0.5)
  one, two = Encoder(config), Encoder(dataclasses.replace(config, layers=2))
  hidden = jax.random.normal(jax.random.key(1), (2, 8, 32))
  mask = AttentionMask(jnp.ones((2, 8), int), jnp.zeros((2, 8), int))
  layer = nn.unbox(one.init(jax.random.key(0), hidden, mask, False))['params']
  equal_layers = {'layer_00': layer['layer_00'], 'layer_01': layer['layer_00']}

  def apply(encoder, parameters, hidden, train):
    rngs = {'dropout': jax.random.key(2)}
    return encoder.apply({'params': parameters}, hidden, mask, train, rngs=rngs)

  for train in (False, True):
    twice = apply(one, layer, apply(one, layer, hidden, train), train)
    both = apply(two, equal_layers, hidden, train)
    assert np.allclose(both, twice, atol=1e-5) == (not train)


def test_without_next_sentence_its_parameters_do_not_exist():
  paths = flat(init(VARIANTS['without_next_sentence'], make_batch()))
  assert not [path for path in paths if path.startswith(('pooler', 'nsp'))]


def test_initial_values_are_those_of_bert():
  config = dataclasses.replace(TINY, vocabulary_size=2000)
  parameters = flat(init(BertForPreTraining(config), make_batch()))
  for path, array in parameters.items():
    if path.endswith('scale'):
      assert (array == 1).all(), path
    elif path.endswith('bias'):
      assert (array == 0).all(), path
    else:
      assert np.abs(array).max() <= 0.04, path
      # The deviation of a normal cut at 2 deviations is 0.8796 of its own;
      # its standard error over n values is below 1 / sqrt(2 n) of it.
      np.testing.assert_allclose(
        array.std(),
        0.8796 * 0.02,
        rtol=4 / np.sqrt(2 * array.size),
        err_msg=path,
      )


@pytest.mark.parametrize(
  'initializer, residual, head, classifier, farthest',
  [
    ('truncated_normal', 0.088, 0.088, 0.088, 2.0),
    ('normal', 0.1, 0.1, 0.1, 4.0),
    # Divided by the root of twice the 2 layers; 1 / 16 for a width of 256.
    ('megatron', 0.044, 0.044, 0.055, 2.0),
  ],
)
def test_kernels_are_drawn_as_their_role_in_the_recipe_says(
  initializer, residual, head, classifier, farthest
):
  """The deviation of a normal one cut at two deviations is 0.88 of its own."""
  config = dataclasses.replace(
    TINY,
    width=256,
    initializer_stddev=0.1,
    initializer=initializer,
    tied_decoder=False,
  )
  batch = make_batch()
  parameters = flat(init(BertForPreTraining(config), batch))
  parameters |= flat(init(BertForTask(config, 'tag_head', 200), batch))
  expected = {
    'embeddings/token/embedding': 0.1 if farthest == 4 else 0.088,
    'encoder/layer_01/attention/query/kernel': 0.1 if farthest == 4 else 0.088,
    'encoder/layer_01/attention/output/kernel': residual,
    'encoder/layer_01/feed_forward/output/kernel': residual,
    'mlm_head/dense/kernel': head,
    'mlm_head/decoder': head,
    'tag_head/kernel': classifier,
  }
  for path, stddev in expected.items():
    values = np.asarray(parameters[path])
    assert values.std() == pytest.approx(stddev, rel=0.03), path
    assert np.abs(values).max() < farthest * stddev * 1.4, path
  inner = np.abs(parameters['encoder/layer_01/attention/query/kernel'])
  assert (inner.max() > 0.21) == (farthest == 4)


def test_dropout_acts_in_training_only_and_follows_its_key():
  model, batch = VARIANTS['both_heads'], make_batch()
  variables = {'params': init(model, batch)}

  def hidden(train, key):
    return model.apply(
      variables, batch, train=train, rngs={'dropout': jax.random.key(key)}
    )['hidden']

  np.testing.assert_array_equal(hidden(True, 1), hidden(True, 1))
  assert np.abs(hidden(True, 1) - hidden(True, 2)).max() > 0.1
  np.testing.assert_array_equal(
    hidden(False, 1), model.apply(variables, batch, train=False)['hidden']
  )


def test_attention_dropout_is_a_rate_of_its_own():
  model = BertForPreTraining(
    dataclasses.replace(TINY, dropout=0.0, attention_dropout=0.5)
  )
  batch = make_batch()
  variables = {'params': init(model, batch)}
  dropped = model.apply(
    variables, batch, train=True, rngs={'dropout': jax.random.key(1)}
  )['hidden']
  kept = model.apply(variables, batch, train=False)['hidden']
  assert np.abs(dropped - kept).max() > 1e-3


def test_products_in_bfloat16_stay_near_those_in_float32():
  batch = make_batch()
  variables = {'params': init(VARIANTS['both_heads'], batch)}
  exact = VARIANTS['both_heads'].apply(variables, batch, train=False)
  rounded = VARIANTS['bfloat16_products'].apply(variables, batch, train=False)
  for leaf in jax.tree.leaves(variables):
    assert leaf.dtype == jnp.float32
  # bfloat16 keeps 8 bits: 0.4% a rounding, some tens of them in a row.
  for name, array in exact.items():
    np.testing.assert_allclose(
      np.asarray(rounded[name], np.float32),
      array,
      atol=0.03 * np.abs(array).max(),
    )


def test_rows_longer_than_the_positions_are_refused():
  batch = make_batch(length=32)
  with pytest.raises(UserError, match='24 positions.*got 32; set LENGTH'):
    VARIANTS['both_heads'].init(jax.random.key(0), batch, train=False)


@pytest.mark.parametrize('head', ['classifier', 'tag_head', 'span_head'])
def test_the_head_of_a_task_is_linear_in_what_it_reads(head):
  model = BertForTask(TINY, head, classes=3)
  # Two sequences in a row: the second one's [CLS] is not at 0.
  batch = make_batch() | {'first_positions': np.array([[0, 5]] * 3)}
  batch['segments'] *= 1 + (np.arange(16) >= 5)
  parameters = init(model, batch)
  # No bias is left at its initial 0, where leaving it out would not show.
  parameters = jax.tree.map(lambda x: x + 0.1, parameters)
  hidden = np.asarray(
    Bert(TINY).apply(
      {'params': {k: parameters[k] for k in ('embeddings', 'encoder')}},
      batch,
      train=False,
    )['hidden']
  )
  if head == 'classifier':
    hidden = np.tanh(
      hidden[:, [0, 5]] @ parameters['pooler']['kernel']
      + parameters['pooler']['bias']
    )
  expected = hidden @ parameters[head]['kernel'] + parameters[head]['bias']
  logits = model.apply({'params': parameters}, batch, train=False)['logits']
  assert set(parameters) == {'embeddings', 'encoder', head} | (
    {'pooler'} if head == 'classifier' else set()
  )
  assert logits.shape == (3, 2 if head == 'classifier' else 16, 3)
  assert logits.dtype == jnp.float32
  np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('pooling', ['cls', 'mean'])
@pytest.mark.parametrize('head', ['classifier', 'tag_head', 'span_head'])
def test_the_head_of_a_task_may_begin_as_that_of_masked_lm(head, pooling):
  """ModernBERT's: vectors, dense, gelu, norm without bias, classes."""
  config = dataclasses.replace(
    TINY, shared_head=True, norm_bias=False, task_pooling=pooling
  )
  batch = make_batch() | {'first_positions': np.array([[0, 5]] * 3)}
  batch['segments'] *= 1 + (np.arange(16) >= 5)
  model = BertForTask(config, head, classes=3)
  parameters = jax.tree.map(lambda x: x + 0.1, init(model, batch))
  names = {'embeddings', 'encoder', 'prediction_head', head}
  assert set(parameters) == names
  bare = {'params': {k: parameters[k] for k in ('embeddings', 'encoder')}}
  vectors = np.asarray(Bert(config).apply(bare, batch, train=False)['hidden'])
  if head == 'classifier' and pooling == 'cls':
    vectors = vectors[:, [0, 5]]
  elif head == 'classifier':
    spans = [[(0, 5), (5, 16)], [(0, 5), (5, 13)], [(0, 5), (5, 10)]]
    vectors = np.array(
      [
        [row[first:end].mean(0) for first, end in both]
        for row, both in zip(vectors, spans, strict=True)
      ]
    )
  dense = parameters['prediction_head']['dense']
  inner = vectors @ dense['kernel'] + dense['bias']
  inner *= 0.5 * (1 + np.vectorize(math.erf)(inner / np.sqrt(2)))
  inner -= inner.mean(-1, keepdims=True)
  inner /= np.sqrt(inner.var(-1, keepdims=True) + config.norm_epsilon)
  inner *= parameters['prediction_head']['norm']['scale']
  expected = inner @ parameters[head]['kernel'] + parameters[head]['bias']
  logits = model.apply({'params': parameters}, batch, train=False)['logits']
  np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('pooling', ['cls', 'mean', 'max'])
def test_a_slot_without_a_sequence_has_no_part_in_the_gradient(pooling):
  config = dataclasses.replace(TINY, task_pooling=pooling)
  model = BertForTask(config, 'classifier', classes=3)
  batch = make_batch() | {'first_positions': np.zeros((3, 2), np.int32)}
  parameters = init(model, batch)

  def loss(parameters):
    logits = model.apply({'params': parameters}, batch, train=False)['logits']
    return jnp.sum(logits**2 * np.array([1, 0])[:, None])

  for path, gradient in flat(jax.grad(loss)(parameters)).items():
    assert np.isfinite(gradient).all(), path


def test_a_shared_head_is_the_one_that_pretraining_has():
  config = dataclasses.replace(TINY, shared_head=True)
  batch = make_batch()
  pretrained = init(BertForPreTraining(config, next_sentence=False), batch)
  task = init(BertForTask(config, 'tag_head', 3), batch)
  assert set(pretrained['mlm_head']) == {'bias'}
  shapes = jax.tree.map(jnp.shape, pretrained['prediction_head'])
  assert jax.tree.map(jnp.shape, task['prediction_head']) == shapes


@pytest.mark.parametrize(
  'head, drops',
  [('classifier', True), ('tag_head', True), ('span_head', False)],
)
def test_dropout_before_the_head_of_a_task_has_a_rate_of_its_own(head, drops):
  batch = make_batch()
  variables = {'params': init(BertForTask(TINY, head, 3), batch)}

  def logits(rate, head_rate, train=True):
    config = dataclasses.replace(TINY, dropout=rate)
    return np.asarray(
      BertForTask(config, head, 3, head_rate).apply(
        variables, batch, train=train, rngs={'dropout': jax.random.key(1)}
      )['logits']
    )

  kept = logits(0.0, None, train=False)
  np.testing.assert_array_equal(logits(0.0, None), kept)
  assert (np.abs(logits(0.0, 0.5) - kept).max() > 1e-4) == drops
  # Without a rate of its own it has the encoder's.
  np.testing.assert_array_equal(logits(0.5, None), logits(0.5, 0.5))
  assert (np.abs(logits(0.5, None) - logits(0.5, 0.0)).max() > 1e-4) == drops


def test_a_head_that_no_task_has_is_refused_with_the_nearest():
  with pytest.raises(UserError, match="did you mean 'tag_head'.*set BertForTa"):
    BertForTask(TINY, 'tags_head', 3).init(
      jax.random.key(0), make_batch(), train=False
    )


def test_noise_is_detected_as_in_electra():
  """A dense layer, GELU and one number a token; its logistic loss."""
  model, batch = VARIANTS['orders_and_noise'], make_batch()
  parameters = init(model, batch)
  outputs = model.apply({'params': parameters}, batch, train=False)
  head = jax.tree.map(np.float64, parameters['detection_head'])
  hidden = np.float64(outputs['hidden'])
  inner = hidden @ head['dense']['kernel'] + head['dense']['bias']
  inner *= 0.5 * (1 + np.vectorize(math.erf)(inner / np.sqrt(2)))
  scores = (inner @ head['scores']['kernel'] + head['scores']['bias'])[..., 0]
  labels, weights = batch['tokens'] % 2, batch['segments']
  p = 1 / (1 + np.exp(-scores))
  losses = -np.where(labels, np.log(p), np.log(1 - p)) * weights
  total, right, count = cross_entropy(
    outputs['detection_logits'], labels, weights.astype(np.float32)
  )
  assert float(total) == pytest.approx(losses.sum(), rel=1e-5)
  assert float(right) == (((p > 0.5) == labels) * weights).sum()
  assert float(count) == weights.sum()
