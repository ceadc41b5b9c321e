import jax
import jax.numpy as jnp
import pytest

from bertjax import batch
from bertjax.models import bert, config, flops

# layers, width, heads, feed-forward; google-research/bert
SIZES = {'base': (12, 768, 12, 3072), 'large': (24, 1024, 16, 4096)}


def make(layers, width, heads, feed_forward, vocabulary_size=30522):
  return config.EncoderConfig(
    vocabulary_size=vocabulary_size,
    width=width,
    layers=layers,
    heads=heads,
    feed_forward=feed_forward,
    dropout=0.0,
  )


# Worked out by hand from the shapes of the arrays, apart from this code.
@pytest.mark.parametrize(
  'size, rows, teraflops', [('base', 64, 4.48), ('large', 32, 7.70)]
)
def test_a_step_has_the_operations_that_its_shapes_ask_for(
  size, rows, teraflops
):
  shapes = batch.shapes(rows, 128, 20)
  counted = flops.of_step(make(*SIZES[size]), shapes, next_sentence=True)
  assert counted / 1e12 == pytest.approx(teraflops, abs=0.005)


@pytest.mark.parametrize(
  'length, predictions, next_sentence, noise',
  [(64, 10, True, None), (128, 20, False, None), (64, 10, True, 'detection')],
)
def test_xla_counts_the_same_products(
  length, predictions, next_sentence, noise
):
  """XLA counts elementwise work too: below 3% at these widths."""
  model_config = make(2, 256, 4, 1024, vocabulary_size=2048)
  model = bert.BertForPreTraining(model_config, next_sentence, 'nsp', noise)
  shapes = batch.shapes(4, length, predictions)
  parameters = jax.eval_shape(
    lambda: model.init(
      jax.random.key(0),
      {key: jnp.zeros(s.shape, s.dtype) for key, s in shapes.items()},
      train=False,
    )
  )

  def loss(parameters, example):
    outputs = model.apply(parameters, example, train=False)
    return sum(outputs[key].sum() for key in outputs if 'logits' in key)

  lowered = jax.jit(jax.value_and_grad(loss)).lower(parameters, shapes)
  theirs = lowered.cost_analysis()['flops']
  ours = 3 * flops.of_model(model, shapes)
  detects = noise == 'detection'
  assert ours == flops.of_step(model_config, shapes, next_sentence, detects)
  assert ours <= theirs <= 1.04 * ours


def test_the_vocabulary_costs_what_is_predicted_and_no_more():
  config = make(*SIZES['base'])
  some, twice = (
    flops.of_forward(config, batch.shapes(8, 128, predictions), True)
    for predictions in (20, 40)
  )
  assert twice['vocabulary'] == 2 * some['vocabulary']
  assert {**twice, 'vocabulary': 0} == {**some, 'vocabulary': 0}
