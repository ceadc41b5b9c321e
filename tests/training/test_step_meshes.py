"""What the compiled step holds and sends on a mesh, read from its program."""

import functools

import jax
import numpy as np
import pytest

from bertjax import batch
from bertjax.models import bert, config
from bertjax.parallel import partitioning
from bertjax.plan import compiled
from bertjax.training import objectives, optimizer, state, step

ROWS, LENGTH, WIDTH, LAYERS = 16, 32, 64, 2
SHAPES = batch.shapes(ROWS, LENGTH, 5)
OBJECTIVE = objectives.MaskedLanguageModel(
  bert.BertForPreTraining(
    config.EncoderConfig(
      vocabulary_size=1024,
      width=WIDTH,
      layers=LAYERS,
      heads=8,
      feed_forward=256,
      positions=LENGTH,
      dropout=0.1,
    )
  )
)
ADAMW = optimizer.adamw(1e-3)
# Its two gradients, of the embedding and of the tied decoder, are summed over
# devices apart where XLA compiles for CPUs.
TABLE = 4 * 1024 * WIDTH
ACTIVATIONS = 4 * ROWS * LENGTH * WIDTH  # bytes between layers


@functools.lru_cache
def compile_step(*sizes):
  """Returns the program and its cost, for a mesh of data, fsdp, tensor."""
  mesh = partitioning.make_mesh(
    *sizes, devices=jax.devices()[: int(np.prod(sizes))]
  )
  abstract = state.abstract(OBJECTIVE, ADAMW, SHAPES, mesh)
  key = jax.eval_shape(lambda: jax.random.key(0))
  program = (
    step.compile_train_step(OBJECTIVE, ADAMW, mesh, step.placement(abstract))
    .lower(abstract, SHAPES, key, None)
    .compile()
  )
  return program, compiled.cost_of(program.as_text())


def parameter_bytes():
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  return 4 * state.count_parameters(
    state.abstract(OBJECTIVE, ADAMW, SHAPES, mesh).parameters
  )


@pytest.mark.parametrize('sizes', [(1, 8, 1), (2, 2, 2), (1, 4, 2)])
def test_the_state_of_a_device_is_one_part_of_fsdp_times_tensor(sizes):
  whole = compiled.memory_of(compile_step(1, 1, 1)[0])['arguments']
  state_bytes = 3 * parameter_bytes()  # and AdamW's two moments
  assert whole == pytest.approx(state_bytes, rel=0.05)
  part = compiled.memory_of(compile_step(*sizes)[0])['arguments']
  # Whole on each device: what has no width (biases of heads, of the
  # vocabulary), and among fsdp's parts the batch.
  assert part == pytest.approx(state_bytes / (sizes[1] * sizes[2]), rel=0.2)


def test_the_state_is_donated():
  parts = compiled.memory_of(compile_step(2, 2, 2)[0])
  # The counter and what is not divided are of no weight beside it.
  assert parts['aliased'] > 0.9 * parts['arguments']


def test_data_parallel_sums_gradients_and_sends_nothing_else():
  _, cost = compile_step(8, 1, 1)
  assert set(cost.collectives) == {'all-reduce'}
  assert cost.collective_bytes['all-reduce'] == pytest.approx(
    parameter_bytes() + TABLE, rel=0.01
  )


def test_fsdp_gathers_parameters_once_and_sends_no_activations():
  _, cost = compile_step(1, 8, 1)
  assert set(cost.collectives) <= {'all-gather', 'all-reduce', 'reduce-scatter'}
  assert cost.collective_bytes['all-gather'] == pytest.approx(
    parameter_bytes(), rel=0.05
  )
  sums = sum(
    cost.collective_bytes.get(kind, 0)
    for kind in ('all-reduce', 'reduce-scatter')
  )
  assert sums == pytest.approx(parameter_bytes() + TABLE, rel=0.05)


def test_tensor_parallel_sums_activations_as_megatron_does():
  # Shoeybi et al. 2019, section 3: two sums of activations a layer forward and
  # two backward. Here one more for the embedding, whose table is divided, and
  # backward three a layer for query, key and value apart.
  _, cost = compile_step(1, 1, 8)
  assert set(cost.collectives) <= {'all-reduce', 'all-gather'}
  expected = (2 * LAYERS + 1 + (1 + 3) * LAYERS) * ACTIVATIONS
  assert cost.collective_bytes['all-reduce'] == pytest.approx(
    expected, rel=0.05
  )
  assert cost.collective_bytes.get('all-gather', 0) < 0.01 * expected
