import functools
import json
import math
import subprocess
import sys

import gin
import jax
import pytest

from bertjax import batch, main
from bertjax.errors import UserError
from bertjax.launch import configuration
from bertjax.models import bert, config, flops
from bertjax.parallel import devices, partitioning
from bertjax.plan import compiled_step, planning, table, topologies
from bertjax.training import objectives, optimizer

needs_libtpu = pytest.mark.skipif(
  not topologies.has_compiler(),
  reason='libtpu is not installed (requirements-tpu.txt)',
)
# What others read of plan.json.
KEYS = {
  'parameters',
  'flops_useful',
  'flops_compiled',
  'bytes_accessed',
  'memory_bytes_per_device',
  'memory_parts',
  'collective_bytes',
  'hbm_bytes',
  'estimated_seconds',
  'estimated_mfu',
  'fits',
  'largest_batch_per_device',
  'steps',
  'days',
  'device_hours',
}
GIB = 2**30


def make(layers=1, width=128, vocabulary_size=1024, **settings):
  return config.EncoderConfig(
    vocabulary_size=vocabulary_size,
    width=width,
    layers=layers,
    heads=width // 64,
    feed_forward=4 * width,
    **settings,
  )


def plan(model_config=None, shapes=None, **settings):
  model = bert.BertForPreTraining(model_config or make(dropout=0.0))
  return planning.plan(
    **{
      'objective': objectives.MaskedLanguageModel(model),
      'optimizer': optimizer.adamw(1e-4),
      'shapes': shapes or batch.shapes(64, 128, 20),
      'topology': 'v5e:2x4',
      'steps': 1000,
      **settings,
    }
  )


@needs_libtpu
def test_a_step_is_planned_for_a_slice_that_is_not_there():
  figures = plan(largest_batch=False)
  assert figures.keys() >= KEYS
  json.dumps(figures)
  useful = flops.of_step(make(), batch.shapes(8, 128, 20), True)
  assert figures['flops_useful'] == useful  # of one of 8 chips
  assert 1.0 <= figures['flops_compiled'] / useful < 1.02
  assert figures['fits'] is True and figures['compiled'] is True
  parts = figures['memory_parts']
  assert figures['memory_bytes_per_device'] == (
    parts['arguments']
    + parts['outputs']
    - parts['aliased']
    + parts['temporary']
  )
  # Parameters and two moments in float32 on each chip; the state is donated.
  state = 3 * 4 * figures['parameters']
  assert state < parts['arguments'] < 1.2 * state
  assert 0.95 * state < parts['aliased'] <= parts['outputs']
  # Gradients are summed over the chips in 2 or 4 bytes each.
  ((kind, moved),) = figures['collective_bytes'].items()
  assert kind == 'all-reduce'
  assert 2 <= moved / figures['parameters'] < 4.5
  assert figures['hbm_bytes'] > 2 * state  # read and written
  seconds = figures['estimated_seconds']
  assert figures['estimated_mfu'] == pytest.approx(useful / seconds / 197e12)
  assert 0 < figures['estimated_mfu'] < 0.9
  assert figures['days'] == pytest.approx(1000 * seconds / 86400)
  assert figures['device_hours'] == pytest.approx(8 * 24 * figures['days'])
  assert figures['dtype'] == 'bfloat16'
  assert '1.0' in table.text(figures)


@needs_libtpu
def test_a_state_that_no_chip_holds_is_refused_with_its_parts():
  """1.8 billion parameters with gradients and moments, 27 GiB on each chip."""
  figures = plan(make(width=12288, dropout=0.0), batch.shapes(8, 8, 2))
  assert figures['fits'] is False and figures['estimated_mfu'] is None
  assert figures['memory_bytes_per_device'] > 16 * GIB
  parts = figures['memory_parts']
  assert parts['optimizer_state'] > 13 * GIB
  assert min(parts.values()) > 0
  assert sum(parts.values()) == figures['memory_bytes_per_device']
  assert figures['largest_batch_per_device'] == 0
  text = table.text(figures)
  assert 'DOES NOT FIT' in text and 'make_mesh.fsdp' in text


class Program:
  """Stands for a compiled step that takes 1 GiB and a quarter a row."""

  def __init__(self, rows):
    self.rows = rows

  def as_text(self):
    return 'ENTRY %main () -> f32[] {\n  ROOT %c = f32[] constant(0)\n}\n'

  def cost_analysis(self):
    return {'bytes accessed': 0.0}

  def memory_analysis(self):
    class Analysis:
      argument_size_in_bytes = output_size_in_bytes = GIB
      alias_size_in_bytes = GIB
      temp_size_in_bytes = self.rows * GIB // 4
      generated_code_size_in_bytes = 0

    return Analysis()


@pytest.mark.parametrize('rows', [8, 40, 400])
def test_the_largest_batch_lies_on_a_line(monkeypatch, rows):
  """15.75 GiB of v5e less 1 hold 59 rows of a quarter."""
  monkeypatch.setattr(topologies, 'has_compiler', lambda: True)
  monkeypatch.setattr(topologies, 'devices', lambda _: jax.devices())
  monkeypatch.setattr(planning.metadata, 'version', lambda _: 'none')
  # An estimate of no cycles has no MFU.
  monkeypatch.setattr(
    planning.compiled,
    'cost_of',
    lambda _: planning.compiled.Cost(flops=1, cycles=1),
  )

  def compile_(self, rows=None):
    rows = self.rows if rows is None else rows
    if 1 + rows / 4 <= 15.75:
      return Program(rows)
    return compiled_step.Refusal(
      f'RESOURCE_EXHAUSTED: Used {1 + rows / 4:.2f}G of 15.75G hbm.'
    )

  monkeypatch.setattr(compiled_step.Step, 'compile', compile_)
  figures = plan(shapes=batch.shapes(8 * rows, 128, 20))
  assert figures['largest_batch_per_device'] == 59
  assert figures['fits'] is (rows <= 59)
  assert figures['memory_bytes_per_device'] == (GIB + rows * GIB // 4)
  assert ('BATCH_SIZE to 472' in table.text(figures)) is (rows > 59)


def test_a_plan_that_may_not_compile_has_the_arithmetic_alone(monkeypatch):
  monkeypatch.setattr(topologies, 'has_compiler', lambda: True)
  monkeypatch.setattr(topologies, 'devices', lambda _: jax.devices())
  monkeypatch.setattr(compiled_step.Step, 'compile', None)
  figures = plan(compiles=False)
  assert figures['compiled'] is False and figures['fits'] is None
  assert figures['why_not_compiled'] == 'not asked for'
  assert figures['days'] is None
  assert figures['days_at_stated_efficiency'] > 0


@pytest.mark.parametrize(
  'topology, count, peak', [('H100:8', 8, 989e12), ('A100-80', 1, 312e12)]
)
def test_a_gpu_has_the_arithmetic_alone_and_it_says_so(topology, count, peak):
  figures = plan(topology=topology)
  assert figures.keys() >= KEYS and figures['compiled'] is False
  for key in (
    'flops_compiled',
    'estimated_mfu',
    'estimated_seconds',
    'days',
    'memory_bytes_per_device',
    'largest_batch_per_device',
  ):
    assert figures[key] is None
  useful = flops.of_step(make(), batch.shapes(64, 128, 20), True) / count
  assert figures['flops_useful'] == useful
  assert figures['days_at_stated_efficiency'] == pytest.approx(
    1000 * useful / peak / 0.4 / 86400
  )
  bytes_ = 4 * figures['parameters']
  assert figures['memory_parts']['parameters'] == bytes_
  assert figures['memory_parts']['optimizer_state'] == pytest.approx(
    2 * bytes_, abs=100
  )
  assert 'Arithmetic alone' in table.text(figures)


def test_a_cpu_has_no_peak_and_no_days():
  figures = plan(topology='cpu')
  assert figures['days_at_stated_efficiency'] is None
  assert figures['device'] == 'cpu' and figures['flops_useful'] > 0


def test_without_libtpu_a_tpu_has_the_arithmetic_alone(monkeypatch):
  monkeypatch.setattr(topologies, 'has_compiler', lambda: False)
  figures = plan(topology='tpu7x:2x2x1')
  assert figures['devices'] == 8 and figures['compiled'] is False
  assert figures['days_at_stated_efficiency'] == pytest.approx(
    figures['flops_useful']
    / devices.named('tpu7x').flops_per_second
    / 0.4
    * 1000
    / 86400
  )
  assert 'libtpu is not installed' in table.text(figures)


def test_a_state_that_no_device_holds_does_not_fit():
  figures = plan(make(width=16384, layers=10), topology='H100')
  assert figures['fits'] is False
  assert 'make_mesh.fsdp' in table.text(figures)


def test_a_gpu_holds_its_part_of_what_the_mesh_divides():
  def parts(fsdp, tensor):
    return plan(
      topology='H100:8',
      make_mesh=functools.partial(
        partitioning.make_mesh, fsdp=fsdp, tensor=tensor
      ),
    )

  whole, part = parts(1, 1), parts(8, 1)
  assert part['mesh'] == {'data': 1, 'fsdp': 8, 'tensor': 1}
  for name, size in whole['memory_parts'].items():
    assert part['memory_parts'][name] == pytest.approx(size / 8, rel=0.05)
  assert part['flops_useful'] == whole['flops_useful']
  with pytest.raises(UserError, match='does not cover 8'):
    parts(3, 1)


@pytest.mark.parametrize(
  'shapes, message',
  [
    (batch.shapes(60, 128, 20), 'multiple of 8'),
    (batch.shapes(64, 1024, 20), 'LENGTH 1024'),
  ],
)
@pytest.mark.parametrize(
  'topology', ['H100:8', pytest.param('v5e:2x4', marks=needs_libtpu)]
)
def test_what_cannot_run_is_refused(topology, shapes, message):
  with pytest.raises(UserError, match=message):
    plan(shapes=shapes, topology=topology)


@pytest.fixture
def parsed(monkeypatch):
  """Parses files and bindings, and returns what the plan is called with."""

  def parse(files, *bindings):
    configuration.parse(files, bindings)
    monkeypatch.setattr(table, 'text', lambda _: '')
    gin.get_configurable(planning.write_plan)(make=lambda **_: {})
    found = gin.get_configurable(main.call_with_arguments)(function=dict)
    return gin.get_bindings(planning.plan) | found

  gin.clear_config()
  yield parse
  gin.clear_config()


def test_alone_it_plans_the_size_and_the_macros_that_are_given(
  parsed, tmp_path
):
  found = parsed(
    ['recipes/plan.gin', 'models/bert_large.gin'],
    'TOPOLOGY=v5p:2x2x2',
    'BATCH_SIZE=512',
    'LENGTH=512',
    'DROPOUT=0.0',
    'TRAIN_STEPS=7',
    f'RUN_DIR={tmp_path}/new',
  )
  model_config = found['objective'].model.config
  assert (model_config.layers, model_config.dropout) == (24, 0.0)
  assert model_config.vocabulary_size == 30522
  assert found['shapes']['tokens'].shape == (512, 512)
  assert found['shapes']['targets'].shape == (512, 77)
  assert found['steps'] == 7 and found['topology'] == 'v5p:2x2x2'
  assert found['make_mesh'](devices=jax.devices()).shape['data'] == 8
  assert (tmp_path / 'new' / 'plan.json').read_text() == '{}'


def test_behind_a_recipe_it_plans_that_one(parsed, tmp_path):
  """And needs nothing of what only its data needs."""
  found = parsed(
    ['recipes/quickstart.gin', 'runs/plan.gin'],
    f'RUN_DIR={tmp_path}',
    'partitioning.make_mesh.fsdp=2',
    'loop.train.accumulation=2',
  )
  model_config = found['objective'].model.config
  assert model_config.vocabulary_size == 4096 and model_config.dropout == 0.0
  assert model_config.heads == 16 and model_config.layers == 2
  assert found['shapes']['tokens'].shape == (32, 64)
  assert found['steps'] == 2000 and found['accumulation'] == 2
  assert found['make_mesh'](devices=jax.devices()).shape['fsdp'] == 2
  gin.clear_config()
  found = parsed(
    ['recipes/pretrain_text.gin', 'runs/plan.gin'], f'RUN_DIR={tmp_path}'
  )
  assert found['shapes']['tokens'].shape == (32, 128)


@pytest.mark.parametrize(
  'binding, message',
  [
    ('BATCH_SIZE=12', 'multiple of 8'),
    ('partitioning.make_mesh.data=3', 'does not cover 8'),
    ('partitioning.make_mesh.tensor=8', 'heads 12 cannot be divided among 8'),
    (
      'partitioning.make_mesh.tensor=2.5',
      'expected a whole number, got the number 2.5',
    ),
    ("config.EncoderConfig.attention_kernel='splash'", 'attention_dropout = 0'),
    ("config.EncoderConfig.dtype='float12'", 'float12'),
    (
      'planning.plan.efficiency=0',
      'above 0 and below 1, got 0; set planning.plan.eff',
    ),
    ('TRAIN_STEPS=0', 'got 0; set TRAIN_STEPS'),
    ('loop.train.accumulation=0', 'got 0; set loop.train.accumulation'),
  ],
)
def test_a_dry_run_refuses_what_a_plan_would(tmp_path, binding, message):
  gin.clear_config()
  with pytest.raises(UserError, match=message):
    configuration.parse(
      ['recipes/plan.gin'],
      [
        'TOPOLOGY=H100:8',
        f'RUN_DIR={tmp_path}',
        'config.EncoderConfig.vocabulary_multiple=128',
        binding,
      ],
    )
    gin.get_configurable(main.run)(dry_run=True)
  assert not list(tmp_path.iterdir())
  gin.clear_config()


def test_a_recipe_that_fine_tunes_is_refused(parsed):
  with pytest.raises(UserError, match='pretrains'):
    parsed(['recipes/quickstart_finetune.gin', 'runs/plan.gin'])


def test_the_command_needs_neither_tensorflow_nor_data(tmp_path):
  code = (
    'import sys\n'
    "for name in ('tensorflow', 'seqio'): sys.modules[name] = None\n"
    'from bertjax import main\n'
    'sys.exit(main.main(sys.argv))\n'
  )
  result = subprocess.run(
    [
      sys.executable,
      '-c',
      code,
      '--gin_file=recipes/plan.gin',
      '--gin_file=models/bert_base.gin',
      '--gin.TOPOLOGY=H100:8',
      f'--gin.RUN_DIR={tmp_path}',
    ],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  figures = json.loads((tmp_path / 'plan.json').read_text())
  assert figures['parameters'] == 110_106_428
  assert math.isclose(figures['flops_useful'], 4.475e12 / 2, rel_tol=0.001)
  assert '110,106,428' in result.stdout


def test_an_unknown_topology_is_one_line_that_lists_them(tmp_path, errors):
  result = subprocess.run(
    [
      sys.executable,
      '-m',
      'bertjax.main',
      '--gin_file=recipes/plan.gin',
      '--gin.TOPOLOGY=v9:2x2',
      f'--gin.RUN_DIR={tmp_path}',
    ],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 2
  (line,) = errors(result.stderr)
  assert 'v5e: 1x1 2x2 2x4' in line and 'TOPOLOGY' in line


def test_a_mesh_that_does_not_cover_the_slice_is_refused():
  if not topologies.has_compiler():
    pytest.skip('libtpu is not installed (requirements-tpu.txt)')
  with pytest.raises(UserError, match='does not cover 8'):
    plan(make_mesh=lambda devices: partitioning.make_mesh(3, devices=devices))
