"""README and experiments/docs: what they show runs, what they name exists."""

import ast
import dataclasses
import importlib
import inspect
import json
import pathlib
import re
import shlex
import sys

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax import batch, main, values
from bertjax.corpus import corpora
from bertjax.launch import configuration
from bertjax.models import (
  attention_mask,
  bert,
  encoder,
  feed_forward,
  kernels,
  layer_patterns,
  layers,
  poolings,
  positions,
)
from bertjax.models.config import EncoderConfig
from bertjax.models.layer_patterns import LayerSpec
from bertjax.runs import trained_model
from bertjax.tasks import kinds
from bertjax.text import masking
from bertjax.training import objectives
from bertjax.training.abstract_objective import apply_model

ROOT = pathlib.Path(main.__file__).parent.parent
DOCS = ROOT / 'experiments' / 'docs'
README = '../../README.md'  # from there
GIN_FILES = sorted((ROOT / 'gin_configs').rglob('*.gin'))
# So that a run takes seconds; the page's commands are run as they are besides.
TINY = [
  '--gin_bindings=config.EncoderConfig.width = 16',
  '--gin_bindings=config.EncoderConfig.layers = 1',
  '--gin_bindings=config.EncoderConfig.heads = 2',
  '--gin_bindings=config.EncoderConfig.feed_forward = 32',
]


# Module of extending.md -> what names its rows; its commands come first there.
ENCODERS = {
  'my_rotary': {'position_scheme': 'partly_rotary'},
  'my_kerple': {'position_scheme': 'kerple'},
  'my_sandwich': {'norm': 'plain_norm', 'block_order': 'sandwich'},
  'my_normed': {'feed_forward_block': 'normed', 'activation': 'squared_relu'},
  'my_windows': {'layer_pattern': 'growing'},
  'my_causal': {'attention_rule': 'causal'},
}


def blocks(page, language=r'\w*'):
  text = (DOCS / page).read_text()
  return re.findall(rf'^```{language}\n(.*?)^```', text, re.M | re.S)


def commands(page):
  """The arguments behind `python -m bertjax.main` of each command."""
  lines = [line for block in blocks(page, 'sh') for line in block.splitlines()]
  for line in lines:
    *_, line = line.split(' && ')  # pip install ... && python ...
    if line.startswith(('# ', 'pip ', 'pytest', 'python -m experiments.')):
      continue
    words = shlex.split(line)
    assert words[:3] == ['python', '-m', 'bertjax.main'], line
    yield words[2:]


def write_files(page, folder):
  """Writes the blocks whose first line is the name of a file."""
  for block in blocks(page):
    name = re.match(r'# ([\w.]+\.(py|gin))\n', block)
    if name:
      (folder / name[1]).write_text(block)


@pytest.fixture(autouse=True)
def fresh_gin():
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  """The files of extending.md; their modules are imported but once."""
  folder = tmp_path_factory.mktemp('mine')
  write_files('extending.md', folder)
  tables = (
    attention_mask.RULES,
    encoder.BLOCK_ORDERS,
    feed_forward.ACTIVATIONS,
    feed_forward.FEED_FORWARDS,
    layer_patterns.PATTERNS,
    layers.NORMS,
    positions.SCHEMES,
    masking.UNITS,
    bert.TASK_HEADS,
    kinds.KINDS,
  )
  before = [dict(table) for table in tables]
  sys.path.insert(0, str(folder))
  yield folder
  sys.path.remove(str(folder))
  for table, entries in zip(tables, before, strict=True):
    table.clear()
    table.update(entries)
  for name in [name for name in sys.modules if name.startswith('my_')]:
    del sys.modules[name]


@pytest.fixture
def folder(written, monkeypatch):
  """`written`, as the folder that commands run in."""
  monkeypatch.chdir(written)
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '')
  return written


@pytest.mark.parametrize('name', ['my_imports', 'my_ranks', 'my_finetuning'])
def test_what_reads_the_run_of_extending_imports_its_positions(folder, name):
  # Here all modules are imported; for a reader only those that the file names.
  assert 'import my_positions\n' in (folder / f'{name}.gin').read_text()


@pytest.mark.slow  # the commands themselves; what follows tries each block
def test_what_extending_shows_trains_embeds_and_predicts(
  folder, monkeypatch, capfd
):
  pretrain, embed, *of_ranks, fine_tune, predict, _, _ = [
    *commands('extending.md')
  ][len(ENCODERS) :]
  import my_masking

  (folder / 'in.txt').write_text('Rhyme 3 has line 4 of 7.\nline 6 of 9\n')
  rows = []
  monkeypatch.setattr(
    masking,
    'UNITS',
    {
      **masking.UNITS,
      'block': lambda *a: rows.append(a) or my_masking.block(*a),
    },
  )

  assert main.main([*pretrain, *TINY]) == 0, capfd.readouterr().err
  assert rows, 'the unit of masking was not used'
  assert '40 documents, 360 lines' in capfd.readouterr().out
  found = trained_model.read('runs/mine')
  assert found.config.position_scheme == 'learned_waves' and found.step == 4
  names = {'token', 'type', 'norm', 'position_waves'}
  assert set(found.parameters['embeddings']) == names
  # Lion keeps one moment, Adam two.
  saved = json.loads(
    (folder / 'runs/mine/checkpoints/4/state/_METADATA').read_text()
  )
  names = {
    key for path in saved['tree_metadata'] for key in ast.literal_eval(path)
  }
  assert 'mu' in names and 'nu' not in names

  assert main.main(embed) == 0, capfd.readouterr().err
  assert np.load('vectors.npy').shape == (2, 16)

  assert main.main(fine_tune) == 0, capfd.readouterr().err
  (row,) = json.loads((folder / 'runs/parity/results.json').read_text())[
    'tasks'
  ]
  assert row['task'] == 'parity' and row['seeds'] == [0]
  found = trained_model.read('runs/parity')
  assert set(found.parameters['two_layers']) == {'hidden', 'output'}
  assert main.main(predict) == 0, capfd.readouterr().err
  lines = pathlib.Path('out.jsonl').read_text().splitlines()
  said = [json.loads(line) for line in lines]
  assert len(said) == 2 and {x['label'] for x in said} <= {'odd', 'even'}

  rank(folder, of_ranks, capfd)

  # A run says what is missing where its modules are not imported.
  monkeypatch.delitem(bert.TASK_HEADS, 'two_layers')
  assert main.main([*predict, '--gin.OUTPUT="more.jsonl"']) == 2
  assert "'two_layers'" in capfd.readouterr().err


def rank(folder, of_ranks, capfd):
  """A kind of task trains with its own loss, evaluates and predicts."""
  lines = [f'line {i} of {i % 5},{i % 5}' for i in range(60)]
  (folder / 'stars.csv').write_text('text,stars\n' + '\n'.join(lines) + '\n')
  train, evaluate, predict = of_ranks
  losses = []
  for kind in ('ranks', 'classes'):
    run_dir = f'--gin.RUN_DIR="runs/{kind}"'
    flags = [f'--gin.KIND="{kind}"', run_dir, '--gin.LOG_STEPS=1']
    assert main.main([*train, *flags]) == 0, capfd.readouterr().err
    path = folder / f'runs/{kind}/text/seed_0/metrics.jsonl'
    first = json.loads(path.read_text().splitlines()[0])
    losses.append(first['train/loss'])
  assert losses[0] > 3 > losses[1]  # 4 if all ranks are as likely; log 5
  capfd.readouterr()
  assert main.main(evaluate) == 0, capfd.readouterr().err
  assert json.loads(capfd.readouterr().out)['examples'] == 60
  assert main.main(predict) == 0, capfd.readouterr().err
  lines = pathlib.Path('ranks.jsonl').read_text().splitlines()
  assert {json.loads(x)['label'] for x in lines} <= {*'01234'}


@pytest.fixture(scope='module')
def first_loss(written):
  """Returns the loss of the first update of a command, with 3 tiny layers."""
  lines = [
    f'rhyme {i} has line {j} of {i * j}.' for i in range(99) for j in 'ab'
  ]
  (written / 'rhymes.txt').write_text('\n\n'.join(lines))

  def run(command):
    flags = ['--gin.LOG_STEPS=1', '--gin.EVAL_STEPS=None', *TINY]
    flags.append('--gin_bindings=config.EncoderConfig.layers = 3')
    # With BERT's 0.02, what is attended to hardly moves the first loss.
    stddev = 'config.EncoderConfig.initializer_stddev = 0.1'
    flags.append(f'--gin_bindings={stddev}')
    run_dir = re.search(r'my_(\w+)', command[0])[1]
    assert main.main(['', *command, *flags]) == 0
    path = pathlib.Path('runs', run_dir, 'metrics.jsonl')
    return json.loads(path.read_text().splitlines()[0])['train/loss']

  return run


@pytest.mark.slow
@pytest.mark.parametrize('name', ENCODERS)
def test_an_encoder_of_extending_trains_otherwise_than_bert(
  folder, first_loss, name
):
  (command,) = [x for x in commands('extending.md') if f'{name}.gin' in x[1]]
  plain = folder / 'runs' / 'small' / 'metrics.jsonl'
  if not plain.exists():
    first_loss(['--gin_file=my_small.gin', '--gin.RUN_DIR="runs/small"'])
  expected = json.loads(plain.read_text().splitlines()[0])['train/loss']
  assert first_loss(command[1:]) != pytest.approx(expected, abs=1e-5)
  found = trained_model.read(f'runs/{name.removeprefix("my_")}')
  for field, value in ENCODERS[name].items():
    assert getattr(found.config, field) == value


@pytest.mark.parametrize('name', ENCODERS)
def test_a_module_of_extending_is_short(folder, name):
  lines = (folder / f'{name}.py').read_text().splitlines()
  assert len([line for line in lines if line]) <= 30


@pytest.mark.slow
def test_the_losses_of_extending_train_two_models_and_a_taught_one(
  folder, capfd
):
  *_, pair, taught = commands('extending.md')
  lines = [f'rhyme {i} has line {j} .' for i in range(40) for j in range(5)]
  (folder / 'in.txt').write_text(
    '\n\n'.join('\n'.join(lines[i : i + 5]) for i in range(0, 200, 5))
  )
  assert main.main([*pair, *TINY]) == 0, capfd.readouterr().err
  assert 'small loss' in capfd.readouterr().out
  found = trained_model.read('runs/pair')
  assert found.config.width == 16 and 'mlm_head' in found.parameters
  assert main.main([*taught, *TINY]) == 0, capfd.readouterr().err
  assert 'frozen parameters: ' in capfd.readouterr().out
  assert trained_model.read('runs/taught').step == 4


@pytest.mark.parametrize(
  'arguments',
  list(commands('extending.md')),
  ids=lambda x: x[1],
)
def test_commands_of_extending_are_understood(folder, arguments):
  _parse(arguments)


BATCH = {
  name: jnp.ones(shape.shape, shape.dtype)
  for name, shape in batch.shapes(2, 8, 2).items()
} | {
  'positions': jnp.tile(jnp.arange(8), (2, 1)),
  'first_positions': jnp.zeros((2, 1), jnp.int32),
}
CONFIG = EncoderConfig(
  vocabulary_size=16, width=8, layers=1, heads=2, feed_forward=16
)


def test_the_positions_of_extending_tell_equal_tokens_apart(folder):
  import my_positions

  config = dataclasses.replace(CONFIG, position_scheme='learned_waves')
  model = bert.Bert(config)
  variables = model.init(jax.random.key(0), BATCH, train=False)
  names = {'token', 'type', 'norm', 'position_waves'}
  assert set(variables['params']['embeddings']) == names
  hidden = model.apply(variables, BATCH, train=False)['hidden'][0]
  assert len(np.unique(np.round(hidden, 4), axis=0)) == 8

  # Fresh rates give the library's waves, in another order; they are learned.
  waves = my_positions.Waves(config)
  variables = nn.meta.unbox(waves.init(jax.random.key(0), BATCH['positions']))
  found = waves.apply(variables, BATCH['positions'])
  expected = positions.sinusoidal(config, BATCH['positions']) * 0.02
  np.testing.assert_allclose(
    found, jnp.concatenate([expected[..., ::2], expected[..., 1::2]], -1), 1e-5
  )
  slopes = jax.grad(lambda x: waves.apply(x, BATCH['positions']).sum())
  assert np.asarray(slopes(variables)['params']['rates']).all()


def output(changes, tokens, places=None):
  """Returns the hidden states [L, D] of fresh, large parameters."""
  config = dataclasses.replace(
    CONFIG, layers=3, initializer_stddev=0.5, dtype='float32', **changes
  )
  model = bert.Bert(config)
  tokens = jnp.asarray([tokens])
  given = {
    'tokens': tokens,
    'types': 0 * tokens,
    'segments': 0 * tokens + 1,
    'positions': jnp.arange(tokens.size)[None] + (places or 0),
  }
  variables = model.init(jax.random.key(0), given, train=False)
  return np.asarray(model.apply(variables, given, train=False)['hidden'][0])


@pytest.mark.parametrize('scheme', ['partly_rotary', 'kerple'])
def test_the_relative_positions_of_extending_are_relative(folder, scheme):
  import my_kerple  # noqa: F401
  import my_rotary  # noqa: F401

  changes = {'position_scheme': scheme, 'width': 16}
  one, turned = output(changes, [5, 6, 7, 8]), output(changes, [5, 7, 6, 8])
  assert np.abs(one[0] - turned[0]).max() > 1e-3
  np.testing.assert_allclose(
    one, output(changes, [5, 6, 7, 8], places=100), atol=1e-4
  )


def test_the_rotation_of_extending_turns_a_quarter_of_the_features(folder):
  import my_rotary

  config = dataclasses.replace(CONFIG, width=32)  # 16 features a head
  features = jax.random.normal(jax.random.key(0), (2, 8, 2, 16))
  arguments = LayerSpec(), BATCH['positions'], features
  turned = my_rotary.rotate(config, *arguments)
  assert (turned[..., 4:] == features[..., 4:]).all()
  # As the library turns a head that has no other features.
  config, quarter = dataclasses.replace(CONFIG, width=8), features[..., :4]
  expected = positions.rotate(config, *arguments[:2], quarter)
  np.testing.assert_allclose(turned[..., :4], expected, atol=1e-5)


def test_the_bias_of_extending_falls_with_the_logarithm(folder):
  import my_kerple

  places = jnp.array([[0, 3, 15]])
  found = my_kerple.bias(CONFIG, LayerSpec(), places, places)
  assert found.shape == (1, 2, 3, 3)
  for slope, of_head in zip(positions.slopes(2), found[0], strict=True):
    expected = [-np.log(1 + slope * distance) for distance in (0, 3, 15)]
    np.testing.assert_allclose(of_head[0], expected, rtol=1e-6)
    np.testing.assert_allclose(of_head[:, 0], expected, rtol=1e-6)


def test_the_causal_mask_of_extending_hides_what_comes_later(folder):
  import my_causal  # noqa: F401

  for rule, hidden in (('causal', True), ('all', False)):
    one, other = (
      output({'attention_rule': rule}, [5, 6, 7, last]) for last in (8, 9)
    )
    same = [
      np.allclose(a, b, atol=1e-6) for a, b in zip(one, other, strict=True)
    ]
    assert same == [hidden, hidden, hidden, False]


def test_the_splash_mask_of_extending_is_the_causal_rule(folder):
  import my_causal

  place = np.arange(6)
  before = my_causal.before(place[:, None], place[None])
  near = before & (place[:, None] - place[None] <= 2)
  for reach, expected in ((None, before), (2, near)):
    assert (my_causal.splash(6, reach)[:, :] == expected).all()


def test_the_windows_of_extending_grow_with_the_depth(folder):
  import my_windows  # noqa: F401

  config = dataclasses.replace(
    CONFIG,
    layers=4,
    layer_pattern='growing',
    rotary_base=20.0,
    position_scheme='rotary',
  )
  specs = layer_patterns.specs(config)
  assert [spec.window for spec in specs] == [2, 4, 6, 8]
  assert layer_patterns.period(specs) == 4
  assert {spec.position_base for spec in specs} == {20.0}

  # Three layers carry as far as 1 + 2 + 3 places, and no farther.
  rows = [[5] * 6 + [last, 5] for last in (5, 8)]
  rows += [[5] * 7 + [8]]
  changes = {'layer_pattern': 'growing'}
  same, within, beyond = (output(changes, row)[0] for row in rows)
  assert np.abs(same - within).max() > 1e-6
  assert (same == beyond).all()


class Wrapped(nn.Module):
  """A sublayer that multiplies by a number, and the read value beside it."""

  config: EncoderConfig

  @nn.compact
  def __call__(self, hidden, factor, norm):
    read = []
    order = self.config.choose(encoder.BLOCK_ORDERS, 'block_order')
    hidden = order.wrap(
      self.config,
      norm,
      hidden,
      lambda x: read.append(x) or factor * x**3,
      'attention',
      False,
    )
    return hidden, read[0]


def test_the_norms_of_extending_stand_before_and_behind(folder):
  import my_sandwich  # noqa: F401

  changes = {'norm': 'plain_norm', 'block_order': 'sandwich'}
  config = dataclasses.replace(CONFIG, dtype='float32', **changes)
  parameters = bert.Bert(config).init(jax.random.key(0), BATCH, train=False)
  names = {'token', 'type', 'position'}
  assert set(parameters['params']['embeddings']) == names
  hidden = output(changes, [5, 6, 7])
  np.testing.assert_allclose(hidden.mean(-1), 0, atol=1e-6)
  np.testing.assert_allclose(hidden.std(-1), 1, rtol=1e-5)

  hidden = jax.random.normal(jax.random.key(1), (1, 3, 8)) * 5 + 2
  for factor in (1.0, 100.0):
    wrapped, read = Wrapped(config).apply({}, hidden, factor, True)
    for normed in (read, wrapped - hidden):  # what is read, what is added
      np.testing.assert_allclose(normed.mean(-1), 0, atol=1e-5)
      np.testing.assert_allclose(normed.std(-1), 1, rtol=1e-4)
  _, read = Wrapped(config).apply({}, hidden, 1.0, False)
  assert (read == hidden).all()


def test_the_norm_within_the_feed_forward_of_extending_is_over_its_width(
  folder,
):
  import my_normed  # noqa: F401

  hidden = jax.random.normal(jax.random.key(0), (1, 2, 8))
  for name, changed in (('normed', False), ('dense', True)):
    config = dataclasses.replace(
      CONFIG,
      feed_forward_block=name,
      activation='squared_relu',
      dtype='float32',
      initializer_stddev=0.5,
    )
    block = feed_forward.FeedForward(config)
    variables = nn.meta.unbox(block.init(jax.random.key(0), hidden))
    if not changed:
      assert variables['params']['inner_norm']['scale'].shape == (16,)
    one = block.apply(variables, hidden)
    assert np.abs(one).max() > 0.1
    entry = variables['params']['input']
    variables['params']['input'] = jax.tree.map(lambda x: 10 * x, entry)
    other = block.apply(variables, hidden)
    assert np.allclose(one, other, rtol=1e-4, atol=1e-5) != changed
  activate = feed_forward.ACTIVATIONS['squared_relu']
  assert activate(jnp.array([-2.0, 3.0])).tolist() == [0, 9]


def test_the_optimizer_of_extending_decays_kernels_alone(folder):
  import my_optimizer

  parameters = {'dense': {'kernel': jnp.ones(3), 'bias': jnp.ones(3)}}
  optimizer = my_optimizer.lion(learning_rate=0.1)
  zeros = jax.tree.map(jnp.zeros_like, parameters)
  updates, _ = optimizer.update(zeros, optimizer.init(parameters), parameters)
  assert (updates['dense']['kernel'] < 0).all()
  assert (updates['dense']['bias'] == 0).all()


def test_the_task_and_the_head_of_extending_fit_each_other(folder):
  import my_head  # noqa: F401
  import my_task

  ((task, train, evaluations),) = (vars(x).values() for x in my_task.parity(6))
  outputs = kinds.find(task.kind).outputs(task)
  assert kinds.head_of(task) == 'two_layers' and outputs == 2
  assert {x.label for x in train()} == set(task.labels)
  assert len(list(evaluations['eval']())) == 20
  model = bert.BertForTask(CONFIG, task.head, outputs)
  logits, variables = model.init_with_output(
    jax.random.key(0), BATCH, train=False
  )
  assert logits['logits'].shape == (2, 1, 2)
  assert set(variables['params']['two_layers']) == {'hidden', 'output'}


def test_the_losses_of_extending_are_those_that_it_says(folder):
  import my_pair
  import my_teacher

  model = bert.BertForPreTraining(CONFIG, next_sentence=False)
  pair = my_pair.Pair(model, model)
  parameters = nn.meta.unbox(pair.initialize(jax.random.key(0), BATCH))
  found = pair(parameters, BATCH, None, train=False)
  alone = objectives.MaskedLanguageModel(model)
  small = alone(parameters['small'], BATCH, None, train=False)
  assert found['small_loss'] == small['mlm_loss']
  # Where the small one is right, the large one has nothing to learn.
  known = pair(
    parameters,
    BATCH | {'targets': guesses_of(model, parameters['small'])},
    None,
    train=False,
  )
  assert known['large_loss'][0] == 0 < found['large_loss'][0]

  taught = my_teacher.Taught(model, 'runs/x', 'vocab.txt')
  frozen = {'teacher': parameters['large']}

  def loss(parameters):
    terms = taught(parameters, BATCH, None, train=False, frozen=frozen)
    return terms['teacher_loss'][0]

  # What is taught is the least loss there is.
  assert loss(parameters['large']) < loss(parameters['small'])
  slopes = jax.tree.leaves(jax.grad(loss)(parameters['large']))
  assert max(abs(slope).max() for slope in slopes) < 1e-5


def guesses_of(model, parameters):
  outputs = apply_model(model, parameters, BATCH)
  return outputs['mlm_logits'].argmax(-1)


def test_the_block_of_extending_is_one_run_of_neighbours(folder):
  import my_masking

  maskable = np.ones((50, 20), bool)
  maskable[:, [0, 7, 19]] = False  # [CLS], [SEP], [SEP]
  words = np.maximum(np.cumsum(maskable, axis=1) - 1, 0)
  chosen, _ = my_masking.block(
    maskable, words, np.full(50, 4), np.arange(50, dtype=np.uint64)
  )
  assert not (chosen & ~maskable).any() and (chosen.sum(1) == 4).all()
  spans = [np.ptp(words[row][chosen[row]]) for row in range(50)]
  assert spans == [3] * 50
  assert len({int(np.argmax(row)) for row in chosen}) > 5


def test_the_reader_of_extending_is_prepared_as_files_are(folder):
  import my_text

  made = corpora.from_text(
    my_text.Rhymes(12), str(folder / 'run'), vocab_size=99
  )
  assert made.index['counts']['lines'] == 12 * 9
  assert sum(x['documents'] for x in made.splits.values()) == 12


@pytest.mark.parametrize(
  'arguments',
  [*commands('coming_from.md'), *commands(README)],
  ids=lambda x: x[1],
)
def test_commands_are_understood(arguments):
  _parse(arguments)


def test_the_schedule_of_coming_from_takes_the_place_of_the_linear_one(
  tmp_path,
):
  write_files('coming_from.md', tmp_path)
  first = next(commands('coming_from.md'))
  _parse([*first, f'--gin_file={tmp_path / "cosine.gin"}'])
  for name in ('optimizer.adamw', 'loop.train'):
    value = gin.query_parameter(f'bertjax.training.{name}.learning_rate')
    assert 'warmup_cosine' in str(value)


def _parse(arguments):
  names = [x for x in arguments[1:] if not x.startswith('--')]
  flags = [x.removeprefix('--') for x in arguments[1:]]
  files = [x.split('=', 1)[1] for x in flags if x.startswith('gin_file=')]
  configuration.parse(
    [*names, *files], [x[4:] for x in flags if x.startswith('gin.')]
  )


def test_macros_files_and_parameters_of_the_pages_exist():
  text = '\n'.join(
    (DOCS / page).read_text()
    for page in ('coming_from.md', 'manual.md', README)
  )
  known = {
    name
    for path in GIN_FILES
    for name in re.findall(r'^([A-Z_]+) =', path.read_text(), re.M)
  }
  spans = re.findall(
    r'`([^`\n]+)`', re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
  )
  macros, parameters, files = set(), set(), set()
  for span in spans:
    span = re.sub(r"'[^']*'", '', span)  # values
    macros |= set(re.findall(r'\b[A-Z][A-Z_]{3,}\b', span))
    span = span.replace('--gin.', '')
    parameters |= set(
      re.findall(r'\b([a-z_]+\.[A-Za-z_]+\.[a-z_0-9]+)\b', span)
    )
    files |= {name for name in re.findall(r'[\w/]+\.gin\b', span)}
  parameters -= {'module.function.parameter'}
  assert len(macros) > 30 and len(parameters) > 12 and len(files) > 5
  macros = {
    name
    for name in macros
    if not name.startswith(('JAX_', 'NCCL_', 'TPU_', 'MEGASCALE_'))
  }
  macros -= {'NAME', 'VALUE', 'FILE', 'FOLDER', 'RECIPE', 'MRPC', 'COMPLETED'}
  assert macros <= known
  for name in files - {'cosine.gin', 'config.gin', 'mine.gin'}:
    assert any(str(path).endswith(f'/{name}') for path in GIN_FILES), name
  for name in parameters:
    module, function, parameter = name.split('.')
    assert parameter in _parameters(module, function), name


def _parameters(module, function):
  """The parameters of a function, also those that it passes on."""
  for path in (ROOT / 'bertjax').rglob(f'{module}.py'):
    dotted = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    made = getattr(importlib.import_module(dotted), function, None)
    if dataclasses.is_dataclass(made):
      return [field.name for field in dataclasses.fields(made)]
    if made is not None:
      return [*inspect.signature(made).parameters, *values.annotations(made)]
  return []


TABLES = {
  'position_scheme': positions.SCHEMES,
  'norm': layers.NORMS,
  'block_order': encoder.BLOCK_ORDERS,
  'feed_forward_block': feed_forward.FEED_FORWARDS,
  'activation': feed_forward.ACTIVATIONS,
  'attention_rule': attention_mask.RULES,
  'layer_pattern': layer_patterns.PATTERNS,
  'task_pooling': poolings.POOLINGS,
  'initializer': layers.INITIALIZERS,
  'attention_kernel': kernels.KERNELS,
}
ROWS = {field: {*table} for field, table in TABLES.items()}  # before `written`


@pytest.mark.parametrize('page', ['extending.md', 'manual.md'])
@pytest.mark.parametrize('field', TABLES)
def test_the_pages_say_which_rows_there_are(page, field):
  text = (DOCS / page).read_text()
  (row,) = re.findall(rf'^\|(?:[^|`]*\|)? `{field}`.*\|$', text, re.M)
  names = row.rstrip(' |').split('|')[-1].split(' (')[0].split(':')[0]
  assert {*re.findall(r'`(\w+)`', names)} == ROWS[field]


def test_links_between_the_pages_lead_somewhere():
  readme = (DOCS / README).read_text()
  for page in ('manual.md', 'coming_from.md', 'extending.md'):
    assert f'experiments/docs/{page}' in readme
    text = (DOCS / page).read_text()
    names = re.findall(r'name="([\w-]+)"', text)
    for file, anchor in re.findall(r'\]\(([\w.]*)#([\w-]+)\)', text):
      there = (DOCS / file).read_text() if file else text
      titles = re.findall(r'^#+ (.*)$', there, re.M)
      anchors = [
        re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-')
        for title in titles
      ]
      assert anchor in anchors + names, anchor
