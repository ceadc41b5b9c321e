"""The notebooks: generated from their sources, and run by their own cells."""

import json
import pathlib
import sys

import nbclient
import nbformat
import pytest

from bertjax import main
from bertjax.errors import RunStopped
from experiments.notebooks import generate

ROOT = pathlib.Path(generate.__file__).parents[2]


@pytest.mark.parametrize('source', generate.SOURCES, ids=lambda p: p.stem)
def test_the_notebook_is_that_of_its_source(source):
  assert source.with_suffix('.ipynb').read_text() == generate.text(source), (
      'python -m experiments.notebooks.generate')


def test_a_recipe_that_fails_raises_with_its_status():
  with pytest.raises(RunStopped, match='recipes/doctor.gin ended with stat'):
    main.start('recipes/doctor.gin', RUN_DIR='there is none')


def execute(name, folder, **parameters):
  """Runs all cells, those of parameters with others; returns what they said."""
  made = generate.notebook(ROOT / 'experiments' / 'notebooks' / f'{name}.py')
  (cell,) = (cell for cell in made.cells
             if 'parameters' in cell.metadata.get('tags', ()))
  assert all(f'\n{name} = ' in f'\n{cell.source}' for name in parameters)
  cell.source += ''.join(f'\n{k} = {v!r}' for k, v in parameters.items())
  # The interpreter of this test, whatever kernels the machine has.
  client = nbclient.NotebookClient(
      made, timeout=300, resources={'metadata': {'path': str(folder)}})
  client.create_kernel_manager()
  client.km.kernel_spec.argv[0] = sys.executable
  client.execute()
  return '\n'.join(
      output.get('text') or output.data.get('text/plain', '')
      for cell in made.cells if cell.cell_type == 'code'
      for output in cell.outputs)


@pytest.mark.slow
def test_the_quickstart(tmp_path):
  said = execute('quickstart', ROOT / 'experiments', RUN_DIR=f'{tmp_path}/run',
                 TRAIN_STEPS=6, EPOCHS=1, SEEDS=(0,))
  assert (tmp_path / 'run' / 'curves.png').exists()
  assert 'step 6: [CLS]' in said and "'token':" in said
  rows = json.loads((tmp_path / 'run_finetune' / 'results.json').read_text())
  assert [row['task'] for row in rows['tasks']] == ['docstrings']


@pytest.mark.slow
def test_tpu_pretraining_goes_on_after_a_disconnect(tmp_path):
  arguments = dict(STORAGE=str(tmp_path), SIZE='models/bert_tiny.gin',
                   BATCH_SIZE=8, LENGTH=32, CHECKPOINT_STEPS=2)
  said = execute('tpu_pretraining', ROOT, TRAIN_STEPS=4, **arguments)
  assert 'continuing' not in said and 'model.safetensors' in said
  said = execute('tpu_pretraining', ROOT, TRAIN_STEPS=6, **arguments)
  assert 'continuing from step 4 of 6' in said
  assert (tmp_path / 'tpu' / 'checkpoints' / '6').is_dir()


@pytest.mark.slow
def test_inspect_attention(tmp_path):
  run = str(tmp_path / 'run')
  main.start('recipes/quickstart.gin', RUN_DIR=run, TRAIN_STEPS=1,
             LENGTH=32, BATCH_SIZE=8)
  said = execute('inspect_attention', ROOT, MODEL=run)
  assert 'layer_01/attention/weights' in said
  assert 'Figure' in said


def test_outside_of_a_checkout_one_line_says_what_to_set(tmp_path):
  with pytest.raises(nbclient.exceptions.CellExecutionError) as raised:
    execute('quickstart', tmp_path)
  assert raised.value.ename == 'SystemExit'
  assert 'not in a checkout of bertjax; set REPOSITORY' in raised.value.evalue


def test_notebooks_are_valid():
  for source in generate.SOURCES:
    nbformat.validate(generate.notebook(source))
