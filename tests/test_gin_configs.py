"""Every recipe parses and builds its state, without data."""

import pathlib
import re

import gin
import pytest

from bertjax import batch, main
from bertjax.errors import UserError
from bertjax.launch import configuration
from bertjax.parallel import partitioning
from bertjax.reporting import references
from bertjax.runs import gin_bindings
from bertjax.training import state

ROOT = pathlib.Path(main.__file__).parent.parent / 'gin_configs'
RECIPES = sorted(path.stem for path in (ROOT / 'recipes').glob('*.gin'))
# These train nothing: they read a run, or a model.
ON_A_MODEL = [
  'attention_maps',
  'embed',
  'evaluate',
  'export',
  'fill_mask',
  'predict',
]
ON_A_RUN = [
  *ON_A_MODEL,
  'convert_tf1',
  'data_report',
  'doctor',
  'prepare_corpus',
  'reference',
  'report',
]
FINE_TUNING = [
  recipe for recipe in RECIPES if 'finetune' in recipe or recipe == 'glue'
]
TRAINING = [
  recipe for recipe in RECIPES if recipe not in ON_A_RUN + FINE_TUNING
]
MODELS = sorted(path.stem for path in (ROOT / 'models').glob('*.gin'))


@pytest.fixture(autouse=True)
def fresh_gin():
  gin.clear_config()
  yield
  gin.clear_config()


def parse(recipe, *files):
  text = (ROOT / 'recipes' / f'{recipe}.gin').read_text()
  bindings = [
    f"{name}='x'" for name in re.findall(r'^(\w+) = %gin.REQ', text, re.M)
  ]
  configuration.parse([f'recipes/{recipe}.gin', *files], bindings)


def build():
  from bertjax.training import objectives, optimizer

  objective = gin.get_configurable(objectives.MaskedLanguageModel)()
  chain = gin.get_configurable(optimizer.adamw)()
  shapes = gin.get_configurable(batch.shapes)()
  return state.abstract(objective, chain, shapes, partitioning.make_mesh())


@pytest.mark.parametrize('recipe', TRAINING)
def test_every_recipe_parses_and_builds(recipe):
  parse(recipe)
  assert state.count_parameters(build().parameters) > 1_000_000


@pytest.mark.parametrize('recipe', TRAINING + FINE_TUNING)
def test_every_recipe_leaves_its_run_in_a_folder_of_its_name(recipe):
  parse(recipe)
  assert gin.query_parameter('RUN_DIR/macro.value') == f'runs/{recipe}'


@pytest.mark.parametrize('recipe', ON_A_RUN)
def test_recipes_that_read_a_run_name_every_argument(recipe):
  parse(recipe)
  from bertjax.corpus import prepare_corpus
  from bertjax.data import tf1_checkpoints
  from bertjax.inference import export, on_files
  from bertjax.inspection import attention_maps
  from bertjax.reporting import data_report, doctor, references, report

  job = {
    'attention_maps': attention_maps.write,
    'convert_tf1': tf1_checkpoints.convert,
    'export': export.export,
    'predict': on_files.predict_file,
    'embed': on_files.predict_file,
    'fill_mask': on_files.predict_file,
    'evaluate': on_files.evaluate,
    'report': report.write,
    'data_report': data_report.write,
    'prepare_corpus': prepare_corpus.prepare,
    'doctor': doctor.diagnose,
    'reference': references.make,
  }[recipe]
  with pytest.raises(
    UserError, match='set (OUTPUT|INPUT|RUN)|directory x|CORPUS_DIR|TEXT_FILES'
  ):
    gin.get_configurable(job)()


@pytest.mark.parametrize('recipe', ON_A_MODEL)
@pytest.mark.parametrize('name', ['RUN_DIR', 'INIT_FROM'])
def test_recipes_that_use_a_model_say_that_its_macro_is_another(recipe, name):
  message = f'^{name} is now MODEL in this recipe; set --gin.MODEL=VALUE$'
  with pytest.raises(UserError, match=message):
    configuration.parse([f'recipes/{recipe}.gin'], [f'{name}=runs/x'])


@pytest.mark.parametrize('model', MODELS)
def test_every_size_is_one_more_file(model):
  parse('pretrain_text', f'models/{model}.gin')
  build()


def test_packing_is_one_macro_for_batches_and_their_shapes():
  from bertjax.corpus import pipeline

  for bindings, sequences in (([], 1), (['PACK=True'], 32)):
    configuration.parse(
      ['recipes/pretrain_text.gin'], ["TEXT_FILES='x'", 'LENGTH=512', *bindings]
    )
    shapes = gin.get_configurable(batch.shapes)()
    assert shapes['pair_labels'].shape == (32, sequences)
    assert shapes['weights'].shape == (32, 77)
    assert str(
      gin.get_bindings(pipeline.batches, resolve_references=False)['sequences']
    ).endswith('batch.sequences_of()')


@pytest.mark.parametrize('recipe', FINE_TUNING)
def test_fine_tuning_recipes_name_every_argument(recipe, tmp_path, monkeypatch):
  """All but the examples are made; then there is no model to start from."""
  from bertjax.finetuning import finetune

  monkeypatch.chdir(tmp_path)
  parse(recipe)
  with gin.unlock_config():
    gin.bind_parameter('bertjax.finetuning.finetune.fine_tune.data_sets', [])
  with pytest.raises(UserError, match='INIT_FROM'):
    gin.get_configurable(finetune.fine_tune)()


@pytest.mark.parametrize('recipe', ['finetune_text', 'pretrain_text'])
def test_a_start_that_is_not_there_is_said_first(recipe, tmp_path, monkeypatch):
  """Before the examples, or a vocabulary beside it, are looked for."""
  monkeypatch.chdir(tmp_path)
  parse(recipe)
  with gin.unlock_config():
    gin.bind_parameter('INIT_FROM/macro.value', 'bert-base-cased')
    gin.bind_parameter('VOCAB_FILE/macro.value', 'bert-base-cased/vocab.txt')
    gin.bind_parameter('RUN_DIR/macro.value', 'run')
  with pytest.raises(
    UserError, match='no directory bert-base-cased; .*hf down'
  ):
    gin.get_configurable(main.run)()
  assert not (tmp_path / 'run').exists()


def test_training_without_a_directory_is_one_line():
  with pytest.raises(UserError, match='got None; set RUN_DIR'):
    configuration.parse(['pretrain_text'], ['TEXT_FILES=x', 'RUN_DIR=None'])


def test_a_run_that_continues_needs_its_start_no_more(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'run' / 'checkpoints').mkdir(parents=True)
  done = []
  main.run(lambda dry_run: done.append(dry_run), 'run', 'bert-base-cased')
  assert done == [False]


def test_glue_of_tfds_is_one_more_file():
  from bertjax.data import finetuning_tasks
  from bertjax.finetuning import finetune

  parse('glue', 'data/glue_tfds.gin')
  assert str(
    gin.get_bindings(finetune.fine_tune, resolve_references=False)['data_sets']
  ).endswith('glue_from_tfds()')
  with pytest.raises(UserError, match='got none; set DATA_DIR'):
    gin.get_configurable(finetuning_tasks.glue_from_tfds)()


@pytest.mark.parametrize('name', references.names())
def test_a_shipped_reference_is_of_todays_recipe(name):
  configuration.parse([f'recipes/{name}.gin'], [])
  ours = gin_bindings.parse(gin.config_str())
  assert references.different(ours, references.read(name).bindings) == []
