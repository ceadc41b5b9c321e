"""What windows and long rows cost in programs for a TPU."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from bertjax import batch
from bertjax.models import bert, config, flops
from bertjax.models.attention_mask import AttentionMask
from bertjax.models.kernels import KERNELS
from bertjax.parallel import partitioning, rules
from bertjax.plan import compiled, hlo, topologies
from bertjax.plan.compiled_step import Step
from bertjax.training import objectives, optimizer

pytestmark = pytest.mark.skipif(
  not topologies.has_compiler(),
  reason='libtpu is not installed (requirements-tpu.txt)',
)
ROWS, HEADS, WIDTH = 8, 12, 64
FEED_FORWARD = 1152  # of ModernBERT base
WINDOW = 128


def cost_of_attention(length, kernel):
  """Forward and backward, of the rows of one chip."""
  mesh = partitioning.make_mesh(devices=topologies.devices('v5e:1x1'))
  whole = NamedSharding(mesh, PartitionSpec())

  def shape(sizes, dtype):
    return jax.ShapeDtypeStruct(sizes, dtype, sharding=whole)

  array = shape((ROWS, length, HEADS, WIDTH), jnp.bfloat16)
  segments = shape((ROWS, length), jnp.int32)

  def attend(query, key, value, segments, gradient):
    mask = AttentionMask(segments, segments, window=WINDOW)
    context, pull = jax.vjp(
      lambda *arrays: KERNELS[kernel](*arrays, mask), query, key, value
    )
    return context, pull(gradient)

  with rules.placing(mesh):
    lowered = jax.jit(attend).lower(array, array, array, segments, array)
    return compiled.cost_of(lowered.compile().as_text())


@pytest.mark.parametrize('length', [1024, 2048])
def test_a_local_layer_costs_within_15_percent_of_what_its_window_says(length):
  """Its FLOPs; and of its attention the bytes, if every array is moved once."""
  cost = cost_of_attention(length, 'auto')
  pairs = flops.attended(length, WINDOW)
  attention = 3 * 2 * 2 * ROWS * HEADS * pairs * WIDTH
  width = HEADS * WIDTH
  layer = 3 * 2 * ROWS * length * width * (4 * width + 3 * FEED_FORWARD)
  assert layer + cost.flops <= 1.15 * (layer + attention)
  # Query, key, value, context; these and the gradient in, and three out.
  arrays = 4 + 5 + 3
  assert cost.hbm_bytes <= 1.15 * arrays * ROWS * length * width * 2


def test_splash_leaves_out_what_is_far_away():
  cost = cost_of_attention(1024, 'splash')
  # Three blocks of 128 keys, 9 products; of all keys it would be 8.
  assert cost.flops == 9 * 2 * ROWS * HEADS * 1024 * 3 * 128 * WIDTH


def test_no_array_of_length_by_length_stands_in_a_program_of_8192():
  length = 8192
  model = bert.BertForPreTraining(
    config.EncoderConfig(
      vocabulary_size=1000,
      width=128,
      layers=2,
      heads=2,
      feed_forward=128,
      positions=length,
      types=0,
      dropout=0.0,
      position_scheme='rotary',
      layer_pattern='local_global',
      local_window=WINDOW,
    ),
    next_sentence=False,
  )
  step = Step(
    objectives.MaskedLanguageModel(model),
    optimizer.adamw(1e-4),
    batch.shapes(1, length, 1000),
    partitioning.make_mesh(devices=topologies.devices('v5e:1x1')),
  )
  text = step.compile().as_text()
  kernels = compiled.cost_of(text).pallas_calls
  assert kernels.total() == 4  # of each layer forward and backward
  largest = max(
    array.bytes
    for execution in hlo.parse(text).executions()
    for array in execution.instruction.arrays
  )
  assert largest < length**2
