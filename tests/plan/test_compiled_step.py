import jax
import pytest

from bertjax import batch
from bertjax.models import bert, config
from bertjax.parallel import partitioning
from bertjax.plan.compiled_step import Refusal, Step
from bertjax.training import objectives, optimizer


@pytest.mark.parametrize(
  'text, needed, available',
  [
    # As libtpu 0.0.42 and older ones say it.
    (
      'RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required '
      'for HLO temporaries (821.54G) exceeds available HBM (15.75G).',
      821.54,
      15.75,
    ),
    (
      'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 18.50G '
      'of 15.75G hbm. Exceeded hbm capacity by 2.75G.',
      18.5,
      15.75,
    ),
  ],
)
def test_a_refusal_says_how_much_is_needed_and_there(text, needed, available):
  refusal = Refusal(text)
  assert refusal.needed == int(needed * 2**30)
  assert refusal.available == int(available * 2**30)
  assert refusal.text == text


@pytest.mark.parametrize(
  'text', ['out of something', 'in vmem. Used 17.50M of 16.00M vmem.']
)
def test_a_refusal_without_numbers_of_hbm_has_none(text):
  refusal = Refusal(f'RESOURCE_EXHAUSTED: {text}')
  assert refusal.needed is refusal.available is None


def make():
  model = bert.BertForPreTraining(
    config.EncoderConfig(
      vocabulary_size=64,
      width=16,
      layers=1,
      heads=2,
      feed_forward=32,
      dropout=0.0,
    )
  )
  return Step(
    objectives.MaskedLanguageModel(model),
    optimizer.adamw(1e-4),
    batch.shapes(16, 8, 2),
    partitioning.make_mesh(data=2, fsdp=2, tensor=2),
  )


def test_a_step_is_compiled_as_the_trainer_does_and_for_any_rows():
  """The mesh is of simulated CPUs here, which need no libtpu."""
  assert make().rows == 4
  program = make().compile(2)
  state, example, *_ = jax.tree.map(lambda x: x.shape, program.in_avals[0])
  assert state.parameters['embeddings']['token']['embedding'] == (64, 16)
  assert example['tokens'] == (4 * 2, 8)
  kept = program.input_shardings[0][0].parameters['encoder']['layer_00']
  assert kept['feed_forward']['input']['kernel'].shard_shape((16, 32)) == (
    8,
    16,
  )


def test_only_a_lack_of_memory_is_a_refusal(monkeypatch):
  from bertjax.training import step as step_lib

  def fail(text):
    class Lowered:
      def lower(self, *_):
        raise jax.errors.JaxRuntimeError(text)

    monkeypatch.setattr(step_lib, 'compile_train_step', lambda *_: Lowered())

  fail('RESOURCE_EXHAUSTED: Used 2.0G of 1.0G hbm')
  assert make().compile().needed == 2 * 2**30
  fail('INTERNAL: something else')
  with pytest.raises(jax.errors.JaxRuntimeError):
    make().compile()
