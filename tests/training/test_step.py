import functools
import itertools

import jax
import numpy as np
import optax
import pytest

from bertjax import batch
from bertjax.errors import UserError
from bertjax.models import bert, config
from bertjax.parallel import partitioning
from bertjax.training import objectives, optimizer, state, step
from bertjax.training.abstract_objective import cross_entropy

SHAPES = batch.shapes(16, 32, 5)


def tiny(dropout=0.0, next_sentence=True, chunks=1):
  return objectives.MaskedLanguageModel(
    bert.BertForPreTraining(
      config.EncoderConfig(
        vocabulary_size=104,
        width=32,
        layers=2,
        heads=8,
        feed_forward=64,
        positions=32,
        dropout=dropout,
      ),
      next_sentence=next_sentence,
    ),
    chunks,
  )


def run(
  mesh,
  accumulation=1,
  dropout=0.0,
  steps=3,
  next_sentence=True,
  chunks=1,
  sequences=1,
):
  objective = tiny(dropout, next_sentence, chunks)
  chain = optimizer.adamw(1e-3)
  shapes = batch.shapes(16, 32, 5, sequences)
  abstract = state.abstract(objective, chain, shapes, mesh)
  now = state.create(objective, chain, shapes, mesh, seed=0)
  update = step.compile_train_step(
    objective, chain, mesh, step.placement(abstract), accumulation
  )
  losses = []
  for number in range(steps):
    # Rows differ in their number of targets, so a mean of means would show.
    example = partitioning.put_batch(
      batch.synthetic(16, 32, 5, 104, seed=number, sequences=sequences), mesh
    )
    now, terms = update(now, example, jax.random.key(7), None)
    losses.append({k: float(a) / float(b) for k, (a, b) in terms.items()})
  return losses, jax.device_get(now.parameters)


@pytest.fixture(scope='module')
def one_device():
  """Returns a function that gives the result of one device, made once."""
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  return functools.lru_cache(functools.partial(run, mesh))


def assert_same(actual, expected):
  for some, other in zip(actual[0], expected[0], strict=True):
    for name in other:
      assert some[name] == pytest.approx(other[name], rel=1e-5), name
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    actual[1],
    expected[1],
  )


# Every division of 8 among data, fsdp, tensor: those of the default suite, in
# which each axis divides something, and the rest.
MESHES = [(1, 1, 8), (2, 2, 2)]
REST = [
  sizes
  for sizes in itertools.product((1, 2, 4, 8), repeat=3)
  if np.prod(sizes) == 8 and sizes not in MESHES
]


@pytest.mark.parametrize(
  'sizes', [*MESHES, *(pytest.param(x, marks=pytest.mark.slow) for x in REST)]
)
def test_every_mesh_of_eight_devices_trains_as_one_does(one_device, sizes):
  assert len(MESHES + REST) == 10
  mesh = partitioning.make_mesh(*sizes)
  assert_same(
    run(mesh, accumulation=2, dropout=0.1),
    one_device(accumulation=2, dropout=0.1),
  )


@pytest.mark.parametrize(
  'accumulation, dropout',
  [
    (1, 0.0),
    pytest.param(1, 0.1, marks=pytest.mark.slow),
    pytest.param(2, 0.0, marks=pytest.mark.slow),
    (2, 0.1),
  ],
)
@pytest.mark.parametrize(
  'sizes',
  [
    (2, 2, 2),
    *(
      pytest.param(x, marks=pytest.mark.slow)
      for x in ((8, 1, 1), (1, 8, 1), (1, 1, 8))
    ),
  ],
)
def test_packed_rows_train_as_on_one_device(
  one_device, sizes, accumulation, dropout
):
  settings = dict(accumulation=accumulation, dropout=dropout, sequences=3)
  assert_same(
    run(partitioning.make_mesh(*sizes), **settings), one_device(**settings)
  )


@pytest.mark.parametrize('accumulation', [2, 4])
def test_accumulated_parts_give_the_whole_batch(one_device, accumulation):
  mesh = partitioning.make_mesh(devices=jax.devices()[:2])
  assert_same(run(mesh, accumulation), one_device())


def test_each_step_drops_other_elements_out():
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  objective, chain = tiny(dropout=0.5), optimizer.adamw(0.0)
  abstract = state.abstract(objective, chain, SHAPES, mesh)
  now = state.create(objective, chain, SHAPES, mesh, seed=0)
  update = step.compile_train_step(
    objective, chain, mesh, step.placement(abstract)
  )
  example = partitioning.put_batch(batch.synthetic(16, 32, 5, 104, 0), mesh)
  losses = set()
  for _ in range(3):  # of the same parameters, batch and key
    now, terms = update(now, example, jax.random.key(0), None)
    losses.add(float(terms['mlm_loss'][0]))
  assert len(losses) == 3


def test_loss_falls_on_a_batch_that_repeats():
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  objective, chain = tiny(), optimizer.adamw(3e-3)
  abstract = state.abstract(objective, chain, SHAPES, mesh)
  now = state.create(objective, chain, SHAPES, mesh, seed=0)
  update = step.compile_train_step(
    objective, chain, mesh, step.placement(abstract)
  )
  example = partitioning.put_batch(batch.synthetic(16, 32, 5, 104, 0), mesh)
  losses = []
  for _ in range(40):
    now, terms = update(now, example, jax.random.key(0), None)
    losses.append(float(terms['mlm_loss'][0] / terms['mlm_loss'][1]))
  assert losses[0] == pytest.approx(np.log(104), abs=0.2)
  assert losses[-1] < 0.5 * losses[0]


def test_rows_without_weight_do_not_count():
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  objective, chain = tiny(), optimizer.adamw(1e-3)
  abstract = state.abstract(objective, chain, SHAPES, mesh)
  now = state.create(objective, chain, SHAPES, mesh, seed=0)
  evaluate = step.compile_evaluation_step(
    objective, mesh, step.placement(abstract.parameters)
  )
  example = batch.synthetic(16, 32, 5, 104, seed=0)
  padded = {
    k: np.concatenate([v, np.zeros_like(v)]) for k, v in example.items()
  }
  whole = evaluate(now.parameters, partitioning.put_batch(example, mesh), None)
  more = evaluate(now.parameters, partitioning.put_batch(padded, mesh), None)
  for name, (value, weight) in whole.items():
    assert float(more[name][1]) == float(weight)
    assert float(more[name][0]) == pytest.approx(float(value), rel=1e-6)


def test_without_next_sentence_there_is_no_such_term():
  mesh = partitioning.make_mesh()
  losses, parameters = run(mesh, steps=1, next_sentence=False)
  assert {name for name in losses[0] if 'fraction' not in name} == {
    'mlm_loss',
    'mlm_accuracy',
    'grad_norm',
  }
  assert 'nsp_head' not in parameters and 'pooler' not in parameters


def test_predictions_in_chunks_give_the_same(one_device):
  # 5 predictions a row, and one that pads.
  assert_same(run(partitioning.make_mesh(4, 1, 2), chunks=2), one_device())
  with pytest.raises(UserError, match='whole number .*, got 0; set Masked'):
    tiny(chunks=0)


@pytest.mark.parametrize('chunks', [1, 5])
def test_with_chunks_no_array_holds_all_logits(chunks):
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  objective, chain = tiny(chunks=chunks), optimizer.adamw(1e-3)
  abstract = state.abstract(objective, chain, SHAPES, mesh)
  program = (
    step.compile_train_step(objective, chain, mesh, step.placement(abstract))
    .lower(abstract, SHAPES, jax.random.key(0), None)
    .compile()
    .as_text()
  )
  assert ('f32[16,5,104]' in program or 'f32[80,104]' in program) == (
    chunks == 1
  )
  assert ('f32[16,1,104]' in program or 'f32[16,104]' in program) == (
    chunks == 5
  )


def test_cross_entropy_is_that_of_optax():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(4, 5, 11)).astype(np.float32)
  labels = rng.integers(0, 11, (4, 5))
  weights = rng.integers(0, 2, (4, 5)).astype(np.float32)
  loss, right, weight = cross_entropy(logits, labels, weights)
  expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  assert float(loss) == pytest.approx(float((expected * weights).sum()), 1e-6)
  assert float(right) == ((logits.argmax(-1) == labels) * weights).sum()
  assert float(weight) == weights.sum()


def test_every_array_of_the_state_is_made_where_it_belongs():
  mesh = partitioning.make_mesh(data=2, fsdp=2, tensor=2)
  objective, chain = tiny(), optimizer.adamw(1e-3)
  abstract = state.abstract(objective, chain, SHAPES, mesh)
  now = state.create(objective, chain, SHAPES, mesh, seed=0)
  jax.tree.map(
    lambda array, shape: np.testing.assert_equal(
      (array.shape, array.dtype, array.sharding),
      (shape.shape, shape.dtype, shape.sharding),
    ),
    now,
    abstract,
  )
  kernel = now.parameters['encoder']['layer_00']['feed_forward']['input']
  assert kernel['kernel'].addressable_shards[0].data.shape == (16, 32)


def test_the_same_seed_gives_the_same_parameters_on_any_mesh():
  objective, chain = tiny(), optimizer.adamw(1e-3)
  made = [
    state.create(objective, chain, SHAPES, mesh, seed=3).parameters
    for mesh in (
      partitioning.make_mesh(devices=jax.devices()[:1]),
      partitioning.make_mesh(data=2, fsdp=2, tensor=2),
    )
  ]
  jax.tree.map(np.testing.assert_array_equal, *jax.device_get(made))
