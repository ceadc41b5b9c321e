"""Every recipe parses and builds its state, without data."""

import pathlib
import re

import gin
import pytest

from bertjax import batch, main, partitioning
from bertjax.errors import UserError
from bertjax.training import state

ROOT = pathlib.Path(main.__file__).parent.parent / 'gin_configs'
RECIPES = sorted(path.stem for path in (ROOT / 'recipes').glob('*.gin'))
# These train nothing: they read a run, or a checkpoint of others.
ON_A_RUN = ['convert_tf1', 'embed', 'export', 'fill_mask']
TRAINING = [recipe for recipe in RECIPES if recipe not in ON_A_RUN]
MODELS = sorted(path.stem for path in (ROOT / 'models').glob('*.gin'))


@pytest.fixture(autouse=True)
def fresh_gin():
  gin.clear_config()
  yield
  gin.clear_config()


def parse(recipe, *files):
  text = (ROOT / 'recipes' / f'{recipe}.gin').read_text()
  bindings = [
      f"{name}='x'" for name in re.findall(r'^(\w+) = %gin.REQ', text, re.M)]
  main.parse([f'recipes/{recipe}.gin', *files], bindings)


def build():
  from bertjax.training import objectives, optimizer

  objective = gin.get_configurable(objectives.MaskedLanguageModel)()
  chain = gin.get_configurable(optimizer.adamw)()
  query = gin.query_parameter
  length = query('LENGTH/macro.value')
  rows = query('BATCH_SIZE/macro.value')
  predictions = gin.get_configurable(batch.predictions_of)()
  return state.abstract(
      objective.model, chain, batch.shapes(rows, length, predictions),
      partitioning.make_mesh(),
  )


@pytest.mark.parametrize('recipe', TRAINING)
def test_every_recipe_parses_and_builds(recipe):
  parse(recipe)
  assert state.count_parameters(build()) > 1_000_000


@pytest.mark.parametrize('recipe', TRAINING)
def test_every_recipe_leaves_its_run_in_a_folder_of_its_name(recipe):
  parse(recipe)
  assert gin.query_parameter('RUN_DIR/macro.value') == f'runs/{recipe}'


@pytest.mark.parametrize('recipe', ON_A_RUN)
def test_recipes_that_read_a_run_name_every_argument(recipe):
  parse(recipe)
  from bertjax.data import tf1_checkpoints
  from bertjax.inference import export, jobs

  job = {'convert_tf1': tf1_checkpoints.convert, 'export': export.run}.get(
      recipe) or getattr(jobs, recipe)
  with pytest.raises(UserError, match='set OUTPUT|set INPUT|has neither'):
    gin.get_configurable(job)()


@pytest.mark.parametrize('model', MODELS)
def test_every_size_is_one_more_file(model):
  parse('pretrain_text', f'models/{model}.gin')
  build()
