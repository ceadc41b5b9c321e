"""The loop with objectives of one's own, and what it returns."""

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax import batch
from bertjax.errors import UserError
from bertjax.inference.predictor import Predictor
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning
from bertjax.plan import planning
from bertjax.runs import layout, model_file, trained_model
from bertjax.runs.checkpoints import Checkpoints
from bertjax.text import vocabulary_file
from bertjax.training import (
  evaluation,
  loop,
  objectives,
  optimizer,
  state,
  step,
)
from bertjax.training.abstract_objective import (
  Objective,
  apply_model,
  cross_entropy,
)

V = 40
SHAPES = batch.shapes(8, 16, 3)


def model(width=16, dropout=0.1, **more):
  settings = dict(layers=1, heads=2, feed_forward=16, positions=16) | more
  return BertForPreTraining(
    EncoderConfig(V, width=width, dropout=dropout, **settings), False
  )


@dataclasses.dataclass(frozen=True)
class Two(Objective):
  """Two models guess the same tokens, and the second counts fifty times."""

  small: nn.Module
  large: nn.Module

  losses = {'small_loss': 1, 'large_loss': 50}
  keys = tuple(key for key in batch.PRETRAINING if 'pair' not in key)

  @property
  def models(self):
    return {'small': self.small, 'large': self.large}

  def weights(self, batch):
    return dict.fromkeys(self.losses, jnp.sum(batch['weights']))

  def __call__(self, parameters, batch, rng, train, frozen=None):
    terms = {}
    for name, model in self.models.items():
      outputs = apply_model(model, parameters[name], batch, rng, train)
      loss, right, weight = cross_entropy(
        outputs['mlm_logits'], batch['targets'], batch['weights']
      )
      terms[f'{name}_loss'] = loss, weight
      terms[f'{name}_accuracy'] = right, weight
    return terms


@dataclasses.dataclass(frozen=True)
class Taught(Objective):
  """A model learns what a trained one says."""

  model: nn.Module
  teacher: nn.Module
  run_dir: str = ''

  losses = {'teacher_loss': 1}

  @property
  def frozen_models(self):
    return {'teacher': self.teacher}

  def read_frozen(self):
    return {'teacher': trained_model.read(self.run_dir).parameters}

  def weights(self, batch):
    return {'teacher_loss': jnp.sum(batch['weights'])}

  def __call__(self, parameters, batch, rng, train, frozen=None):
    ours = apply_model(self.model, parameters, batch, rng, train)
    theirs = apply_model(self.teacher, frozen['teacher'], batch)
    losses = optax.safe_softmax_cross_entropy(
      ours['mlm_logits'], jax.nn.softmax(theirs['mlm_logits'])
    )
    weights = batch['weights']
    return {'teacher_loss': (jnp.sum(losses * weights), jnp.sum(weights))}


TWO = Two(model(8), model(16))
MLM = objectives.MaskedLanguageModel(model())


class Batches:
  def __init__(self, without=()):
    self.made, self.without = 0, without

  def __iter__(self):
    return self

  def __next__(self):
    self.made += 1
    example = batch.synthetic(8, 16, 3, V, seed=self.made)
    return {k: v for k, v in example.items() if k not in self.without}

  def position(self):
    return {'made': str(self.made).encode()}

  def restore(self, position):
    self.made = int(position['made'])


TOKENS = [*vocabulary_file.SPECIAL_TOKENS, *map(str, range(V - 5))]


def write_vocabulary(run_dir, tokens=TOKENS, cased=False):
  path = str(run_dir / layout.VOCABULARY)
  vocabulary_file.write(tokens, path, cased)


def train(objective, run_dir, steps=6, vocabulary=(), **settings):
  run_dir.mkdir(exist_ok=True)
  write_vocabulary(run_dir, *vocabulary)
  held_out = [batch.synthetic(8, 16, 3, V, seed=99)]
  return loop.train(
    **{
      'objective': objective,
      'optimizer': optimizer.adamw(1e-2),
      'learning_rate': lambda step: 1e-2,
      'batches': Batches,
      'evaluations': {'eval': evaluation.HeldOut(objective, lambda: held_out)},
      'mesh': partitioning.make_mesh(devices=jax.devices()[:1]),
      'run_dir': str(run_dir),
      'steps': steps,
      'shapes': SHAPES,
      'log_steps': 2,
      'eval_steps': 2,
      'checkpoint_steps': 3,
      **settings,
    }
  )


def lines(run_dir):
  """What metrics.jsonl says apart from the speed."""
  return [
    {k: v for k, v in json.loads(line).items() if not k.startswith('speed/')}
    for line in (run_dir / layout.METRICS).read_text().splitlines()
  ]


def saved(run_dir):
  with Checkpoints(str(run_dir / layout.CHECKPOINTS), read_only=True) as found:
    return found.parameters()[0]


def assert_same(some, other):
  jax.tree.map(np.testing.assert_array_equal, some, other)


@pytest.fixture(scope='module')
def two(tmp_path_factory):
  run_dir = tmp_path_factory.mktemp('runs') / 'two'
  return run_dir, train(TWO, run_dir)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  run_dir = tmp_path_factory.mktemp('runs') / 'teacher'
  train(MLM, run_dir, steps=2)
  return str(run_dir)


@pytest.fixture(scope='module')
def taught(tmp_path_factory, teacher):
  run_dir = tmp_path_factory.mktemp('runs') / 'taught'
  return run_dir, train(Taught(model(8), model(), teacher), run_dir)


def test_labels_that_nobody_learns_are_told_once(tmp_path, capsys):
  train(TWO, tmp_path / 'run', steps=2)
  out = capsys.readouterr().out
  assert (
    out.count('warning: the data has pair_weights, which Two.keys does') == 1
  )
  train(MLM, tmp_path / 'other', steps=2)
  assert 'warning' not in capsys.readouterr().out


def test_two_models_learn_with_their_factors(two):
  run_dir, trained = two
  first, *_, last = lines(run_dir)
  for name in ('small_loss', 'large_loss'):
    assert last[f'eval/{name}'] < first[f'eval/{name}']
  assert last['train/loss'] == pytest.approx(
    last['train/small_loss'] + 50 * last['train/large_loss']
  )
  assert trained.values.keys() == {
    f'eval/{name}_{kind}'
    for name in ('small', 'large')
    for kind in ('loss', 'accuracy')
  }
  assert set(saved(run_dir)) == {'small', 'large'}


def test_the_gradient_of_a_loss_is_its_factor_times_as_large():
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  example = next(Batches())
  sgd = optax.sgd(1.0)
  moved = []
  for factor in (1, 50):

    class Same(Two):
      losses = {'small_loss': 1, 'large_loss': factor}

    objective = Same(model(8, 0.0), model(16, 0.0))
    now = state.create(objective, sgd, SHAPES, mesh, seed=0)
    then, _ = step.train_step(
      now, example, jax.random.key(0), objective=objective, optimizer=sgd
    )
    moved.append(jax.tree.map(jnp.subtract, then.parameters, now.parameters))

  def assert_close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)

  (one, fifty) = moved
  jax.tree.map(assert_close, one['small'], fifty['small'])
  jax.tree.map(
    lambda x, y: assert_close(50 * x, y), one['large'], fifty['large']
  )


def test_the_main_model_predicts_and_is_what_a_run_starts_from(two, tmp_path):
  run_dir, _ = two
  found = trained_model.read(str(run_dir))
  assert found.config == TWO.large.config
  assert_same(found.parameters, saved(run_dir)['large'])
  assert Predictor.load(str(run_dir)).embed(['1 2'], length=8).shape == (1, 16)
  content = json.loads((run_dir / layout.MODEL).read_text())
  assert content['main'] == 'large' and set(content['models']) == set(
    TWO.models
  )
  assert model_file.read_objective(str(run_dir)).losses == TWO.losses
  train(
    TWO, tmp_path / 'again', 1, initial=lambda: found.parameters, keep_every=1
  )
  with Checkpoints(str(tmp_path / 'again' / layout.CHECKPOINTS)) as there:
    began = there.parameters(0)[0]
  assert_same(began['large'], found.parameters)
  fresh = state.create(
    TWO, optimizer.adamw(1e-2), SHAPES, partitioning.make_mesh(), seed=0
  )
  assert_same(began['small'], jax.device_get(fresh.parameters['small']))


@pytest.mark.parametrize('kind', ['two', 'taught'])
def test_a_run_that_goes_on_is_one_that_was_never_interrupted(
  kind, request, tmp_path, teacher
):
  run_dir, trained = request.getfixturevalue(kind)
  objective = {'two': TWO, 'taught': Taught(model(8), model(), teacher)}[kind]
  train(objective, tmp_path / 'run', 3)
  assert train(objective, tmp_path / 'run') == trained
  assert_same(saved(tmp_path / 'run'), saved(run_dir))
  # The short run evaluated at its end, step 3.
  whole = {line['step']: line for line in lines(run_dir)}
  again = {line['step']: line for line in lines(tmp_path / 'run')}
  assert again.keys() - whole.keys() == {3}
  assert (
    again[6]['eval/' + next(iter(objective.losses))]
    == (whole[6]['eval/' + next(iter(objective.losses))])
  )


def test_a_vocabulary_that_was_altered_is_noticed(tmp_path):
  run_dir = tmp_path / 'run'
  train(TWO, run_dir, 1)
  for altered in ([*TOKENS[:-2], *TOKENS[:-3:-1]], False), (TOKENS, True):
    with pytest.raises(UserError, match='not as it was when') as resumed:
      train(TWO, run_dir, 2, altered)
    with pytest.raises(UserError, match='not as it was when') as read:
      trained_model.read(str(run_dir))
    assert '\n' not in f'{resumed.value}{read.value}'
  write_vocabulary(run_dir)
  with_other_ends = '\r\n'.join(TOKENS).encode()
  (run_dir / layout.VOCABULARY).write_bytes(with_other_ends)
  assert trained_model.read(str(run_dir)).step == 1
  # As of bertjax 0.1, or damaged: nothing is known.
  (run_dir / layout.MODEL).write_text('{')
  assert train(TWO, run_dir, 1).step == 1
  with pytest.raises(UserError, match='not as it was when'):
    train(TWO, run_dir, 2, (TOKENS, True))


def test_a_teacher_is_not_saved(taught, teacher):
  run_dir, _ = taught
  assert set(saved(run_dir)) == {'embeddings', 'encoder', 'mlm_head'}
  path = run_dir / layout.CHECKPOINTS / '6' / 'state' / '_METADATA'
  assert 'teacher' not in path.read_text()
  assert Predictor.load(str(run_dir)).embed(['1 2'], length=8).shape == (1, 8)


def step_of(mesh, objective, loaded, accumulation=1):
  """The terms of three steps, the parameters, and the frozen ones after."""
  sgd = optax.sgd(0.1)
  abstract = state.abstract(objective, sgd, SHAPES, mesh)
  placed = state.abstract_frozen(objective, SHAPES, mesh)
  frozen = loop.warm_start.place(loaded, placed)
  now = state.create(objective, sgd, SHAPES, mesh, seed=0)
  update = step.compile_train_step(
    objective, sgd, mesh, step.placement(abstract, placed), accumulation
  )
  losses = []
  for example in (next(Batches()),) * 3:
    now, terms = update(
      now, partitioning.put_batch(example, mesh), jax.random.key(0), frozen
    )
    losses.append(float(terms['teacher_loss'][0]))
  return losses, jax.device_get(now.parameters), frozen


def test_a_teacher_is_followed_on_any_mesh_and_in_parts(teacher):
  objective = Taught(model(8, dropout=0.0), model(dropout=0.0), teacher)
  loaded = objective.read_frozen()
  one = partitioning.make_mesh(devices=jax.devices()[:1])
  expected, expected_parameters, _ = step_of(one, objective, loaded)
  assert expected[2] < expected[1] < expected[0]
  losses, parameters, frozen = step_of(
    partitioning.make_mesh(2, 2, 2), objective, loaded, accumulation=2
  )
  assert losses == pytest.approx(expected, rel=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    parameters,
    expected_parameters,
  )
  # Not donated, not changed, and placed by the rules for all parameters.
  assert_same(jax.device_get(frozen)['teacher'], loaded['teacher'])
  kernel = frozen['teacher']['encoder']['layer_00']['feed_forward']['input']
  assert kernel['kernel'].sharding.shard_shape((16, 16)) == (8, 8)


def test_a_teacher_of_another_size_is_refused_before_the_data_is_made(
  teacher, tmp_path
):
  def fail():
    raise AssertionError

  objective = Taught(model(8), model(16, layers=2), teacher)
  for dry_run in (False, True):
    with pytest.raises(UserError, match='layer_01/.* is absent there and') as e:
      train(objective, tmp_path / 'run', batches=fail, dry_run=dry_run)
    assert 'set the sizes of the frozen model' in str(e.value)
  with pytest.raises(UserError, match='LENGTH 16 exceeds the 8 .* teacher;'):
    train(Taught(model(), model(positions=8), teacher), tmp_path / 'run')


def test_the_plan_counts_a_teacher_and_its_forward_pass(teacher):
  def plan(objective):
    return planning.plan(
      objective=objective,
      optimizer=optimizer.adamw(1e-4),
      shapes=SHAPES,
      topology='A100-80:4',
      steps=10,
    )

  student = objectives.MaskedLanguageModel(model(8))
  alone, both = plan(student), plan(Taught(model(8), model(), teacher))
  size = sum(x.size for x in jax.tree.leaves(trained_model.read(teacher)[1]))
  assert both['memory_parts'].pop('frozen_parameters') == 4 * size
  assert both['memory_parts'] == alone['memory_parts']
  forward = MLM.flops(SHAPES) / 3
  assert both['flops_useful'] - alone['flops_useful'] == forward / 4
  assert TWO.flops(SHAPES) == 3 * forward + student.flops(SHAPES)


def test_the_first_batch_is_checked_and_the_objective_named(tmp_path):
  missing = ['pair_labels', 'targets']
  with pytest.raises(
    UserError, match='Two reads targets: expected int32.B=8, P'
  ):
    train(TWO, tmp_path / 'run', batches=lambda: Batches(missing))


@pytest.mark.parametrize(
  'settings, words',
  [
    ({'select': 'dev/loss'}, "begins with eval/, got 'dev/loss'; set loop.tr"),
    (
      {'select': 'eval/mlm_acuracy'},
      "got 'eval/mlm_acuracy' .did you mean 'eval/mlm_accuracy'.*; set loop.tr",
    ),
    ({'shapes': {}}, 'expected shapes that have tokens, got none; set loop.tr'),
    (
      {'batches': lambda: [next(Batches())]},
      r'has position\(\) and .*, got .list_iterator.; set loop.train.batches',
    ),
  ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(
  settings, words, tmp_path
):
  with pytest.raises(UserError, match=words):
    train(MLM, tmp_path / 'run', **settings)
  assert not (tmp_path / 'run' / layout.METRICS).exists()


def test_data_without_pairs_is_refused_by_a_model_of_pairs(tmp_path):
  pairs = objectives.MaskedLanguageModel(BertForPreTraining(model().config))
  without = Batches()
  example = next(without)
  example['pair_weights'] *= 0
  with pytest.raises(UserError, match='pairs of sentences.* set NSP=False'):
    pairs.check_batch(example)
  pairs.check_batch(next(without))


def test_what_was_measured_is_returned_also_of_a_finished_run(tmp_path):
  settings = {'select': 'eval/mlm_accuracy', 'patience': 2}

  def values(run_dir, step):
    (line,) = (line for line in lines(run_dir) if line['step'] == step)
    return {k: v for k, v in line.items() if k.startswith('eval/')}

  fresh = train(MLM, tmp_path / 'a', 8, **settings)
  assert fresh.values == values(tmp_path / 'a', fresh.step)
  assert fresh.best_values == values(tmp_path / 'a', fresh.best_step)
  assert {'eval/mlm_loss', 'eval/mlm_baseline'} <= fresh.values.keys()
  assert train(MLM, tmp_path / 'a', 8, **settings) == fresh
  settings['patience'] = None
  train(MLM, tmp_path / 'b', 4, **settings)
  resumed = train(MLM, tmp_path / 'b', 8, **settings)
  assert resumed == train(MLM, tmp_path / 'c', 8, **settings)
  assert resumed.best_step == fresh.best_step < resumed.step == 8
  assert train(MLM, tmp_path / 'b', 8) == resumed._replace(
    best_step=None, best_values=None
  )


def test_what_data_cannot_be_is_told_before_anything_is_compiled(
  tmp_path, monkeypatch
):
  def compiled(*_, **__):
    raise AssertionError('compiled before the data was looked at')

  monkeypatch.setattr(state, 'create', compiled)

  def no_such_split():
    raise UserError("expected one of dev, train, got 'validation'; set split")

  held_out = {'eval': evaluation.HeldOut(MLM, no_such_split)}
  with pytest.raises(UserError, match="got 'validation'"):
    train(MLM, tmp_path / 'run', evaluations=held_out)
