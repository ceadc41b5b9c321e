"""The notebooks: each in step with its source, and executed at a tiny size."""

import ast
import json
import re
import sys

import nbclient
import nbformat
import pytest
from jupytext.compare import compare_notebooks

from experiments.notebooks import convert

FOLDER = convert.FOLDER


def read(name):
  return nbformat.read(FOLDER / f'{name}.ipynb', as_version=4)


def parameters_of(notebook):
  (cell,) = [
    cell
    for cell in notebook.cells
    if 'parameters' in cell.metadata.get('tags', ())
  ]
  return cell


def with_values(notebook, **values):
  """Replaces what the cell of parameters sets, and that alone."""
  cell = parameters_of(notebook)
  tree = ast.parse(cell.source)
  for statement in tree.body:
    (target,) = statement.targets
    if target.id in values:
      statement.value = ast.Constant(values.pop(target.id))
  assert not values, f'the notebook has no parameter {values}'
  cell.source = ast.unparse(tree)
  return notebook


def execute(notebook, folder, monkeypatch, devices=1):
  """Runs all cells with a kernel of this interpreter, started in `folder`."""
  monkeypatch.setenv('JUPYTER_PREFER_ENV_PATH', '1')
  # Not what the tests themselves run with, which users do not have.
  monkeypatch.delenv('TF_CPP_MIN_LOG_LEVEL', raising=False)
  monkeypatch.setenv(
    'XLA_FLAGS', f'--xla_force_host_platform_device_count={devices}'
  )
  nbclient.NotebookClient(
    notebook,
    kernel_name='python3',
    timeout=300,
    coalesce_streams=True,
    resources={'metadata': {'path': str(folder)}},
  ).execute()
  return notebook


def said(notebook):
  return ''.join(
    output.text
    for output in outputs(notebook)
    if output.output_type == 'stream'
  )


def outputs(notebook):
  return [
    output
    for cell in notebook.cells
    if cell.cell_type == 'code'
    for output in cell.outputs
  ]


def shown(notebook, kind):
  return [
    output.data[kind]
    for output in outputs(notebook)
    if kind in output.get('data', ())
  ]


def assert_no_error(notebook):
  assert 'error' not in [output.output_type for output in outputs(notebook)]
  assert 'Traceback' not in said(notebook)
  assert 'Warning' not in said(notebook)
  assert not re.search(r'^[WEF]\d{4} ', said(notebook), re.MULTILINE)  # TF's


# -------------------------------------------------------------------- sources


@pytest.mark.parametrize('name', convert.NOTEBOOKS)
def test_a_notebook_is_what_its_source_makes(name):
  source = (FOLDER / f'{name}.py').read_text(encoding='utf-8')
  notebook, made = read(name), convert.convert(source)
  compare_notebooks(notebook, made, fmt=convert.FORMAT)
  assert [cell.id for cell in notebook.cells] == [
    cell.id for cell in made.cells
  ], 'python -m experiments.notebooks.convert'
  assert notebook.metadata.kernelspec == made.metadata.kernelspec


@pytest.mark.parametrize('name', convert.NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs(name):
  for cell in read(name).cells:
    assert not cell.get('outputs') and not cell.get('execution_count')


def test_every_source_is_a_notebook():
  sources = {
    path.stem
    for path in FOLDER.glob('*.py')
    if '# %%' in path.read_text(encoding='utf-8')
  } - {'convert'}
  assert sources == set(convert.NOTEBOOKS)
  assert {path.stem for path in FOLDER.glob('*.ipynb')} == sources


def test_the_checkout_is_found_in_the_same_way_by_all():
  cells = {
    cell.source
    for name in convert.NOTEBOOKS
    for cell in read(name).cells
    if 'runtime.install()' in cell.source
  }
  assert len(cells) == 1
  for name in convert.NOTEBOOKS:
    assert 'REPOSITORY = None' in parameters_of(read(name)).source


def test_outside_of_a_checkout_one_line_asks_for_the_repository(
  tmp_path, monkeypatch
):
  notebook = read('inspect_attention')
  notebook.cells.insert(
    0, nbformat.v4.new_code_cell('import sys; print(sys.executable)')
  )
  with pytest.raises(nbclient.exceptions.CellExecutionError):
    execute(notebook, tmp_path, monkeypatch)
  # nbclient started a kernel of this interpreter, not of another one.
  assert said(notebook).strip() == sys.executable
  (error,) = [
    output for output in outputs(notebook) if output.output_type == 'error'
  ]
  assert 'set REPOSITORY' in error.evalue and '\n' not in error.evalue


# ------------------------------------------------------------------ execution


@pytest.fixture(scope='module')
def quickstart(tmp_path_factory):
  with pytest.MonkeyPatch.context() as monkeypatch:
    folder = tmp_path_factory.mktemp('quickstart')
    yield (
      folder,
      execute(
        with_values(
          read('quickstart'),
          FOLDER=str(folder),
          TRAIN_STEPS=20,
          SEEDS=[0],
          EPOCHS=1,
        ),
        FOLDER,
        monkeypatch,
      ),
    )


@pytest.mark.slow
def test_quickstart(quickstart):
  folder, notebook = quickstart
  assert_no_error(notebook)
  for name in (
    'pretrained/vocab.txt',
    'pretrained/curves.png',
    'finetuned/results.md',
    'from_nothing/results.json',
  ):
    assert (folder / name).stat().st_size > 0
  lines = (folder / 'pretrained/metrics.jsonl').read_text().splitlines()
  assert json.loads(lines[-1])['step'] == 20
  (curves,) = shown(notebook, 'image/png')
  assert len(curves) > 10_000
  held_out, finetuned, from_nothing = shown(notebook, 'text/markdown')
  assert re.search(r'masked LM \| 0\.\d+ \| 0\.\d+', held_out)
  assert '| docstrings |' in finetuned and '| docstrings |' in from_nothing
  text = said(notebook)
  assert 'The [MASK] of a widget is' in text  # and what is filled in
  assert (
    len(
      re.findall(r'^ {4,}\S+ 0\.\d\d(?: +\S+ 0\.\d\d){3}$', text, re.MULTILINE)
    )
    == 3
  )
  assert re.search(r'\n    \w+ 0\.\d\d\nParse.*\n    \w+ 0\.\d\d\n', text)


@pytest.mark.slow
def test_pretraining_again_continues(tmp_path, monkeypatch):
  text = tmp_path / 'text.txt'
  text.write_text(
    '\n\n'.join(
      f'the cat {i} sat on the mat.\nit was warm there, {i} times.\n'
      f'an exception is raised in file {i}.'
      for i in range(200)
    )
  )
  run_dir = tmp_path / 'drive' / 'tpu_pretraining'

  def start(steps):
    return execute(
      with_values(
        read('tpu_pretraining'),
        STORAGE=str(tmp_path / 'drive'),
        TEXT_FILES=str(text),
        VOCAB_SIZE=200,
        SIZE='tiny',
        TRAIN_STEPS=steps,
        BATCH_SIZE=16,
        LENGTH=32,
        CHECKPOINT_STEPS=10,
      ),
      FOLDER,
      monkeypatch,
      devices=8,
    )

  def metrics():
    lines = (run_dir / 'metrics.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]

  first, before = start(20), metrics()
  assert_no_error(first)
  assert 'continuing' not in said(first)
  assert '8 device(s):\n' in said(first)
  assert "'data': 8, 'fsdp': 1, 'tensor': 1} over 8 cpu device" in said(first)
  assert 'this session began at step 0 and ended at step 20' in said(first)
  second = start(30)
  assert_no_error(second)
  assert 'continuing from step 20 of 30' in said(second)
  assert 'this session began at step 20 and ended at step 30' in said(second)
  assert metrics()[: len(before)] == before
  assert metrics()[-1]['step'] == 30
  assert (
    tmp_path / 'drive' / 'tpu_pretraining_step_30' / 'config.json'
  ).exists()


@pytest.mark.slow
def test_inspect_attention(quickstart, monkeypatch):
  folder, _ = quickstart
  model = str(folder / 'pretrained')
  notebook = execute(
    with_values(read('inspect_attention'), MODEL=model), FOLDER, monkeypatch
  )
  assert_no_error(notebook)
  assert len(shown(notebook, 'image/png')) == 2
  (frame,) = shown(notebook, 'text/html')
  assert 'srcdoc="&lt;!doctype html&gt;' in frame and model in frame
  assert said(notebook).count('importance:\n[[') == 2


@pytest.mark.slow
def test_a_mistake_is_said_in_one_line(tmp_path, monkeypatch):
  notebook = with_values(read('inspect_attention'), MODEL=str(tmp_path / 'no'))
  with pytest.raises(nbclient.exceptions.CellExecutionError):
    execute(notebook, FOLDER, monkeypatch)
  (error,) = [
    output for output in outputs(notebook) if output.output_type == 'error'
  ]
  (line,) = error.traceback
  assert line.startswith('bertjax: ') and str(tmp_path / 'no') in line
