"""The dependencies between packages, read from the sources and proven."""

import ast
import pathlib
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = sorted((ROOT / 'bertjax').rglob('*.py'))
TENSORFLOW = {
  'tensorflow',
  'tensorflow_text',
  'tensorflow_datasets',
  'seqio',
  'apache_beam',
}
# What gives Python objects for bytes, and may run code on the way. That no
# library does so behind them is watched in test_end_to_end.py.
UNPICKLING = {
  'pickle',
  '_pickle',
  'marshal',
  'shelve',
  'copyreg',
  'multiprocessing',
  'dill',
  'cloudpickle',
  'joblib',
  'torch',
}
# Package -> packages of bertjax that it may import; None: any.
ALLOWED = {
  'errors': set(),
  'devices': set(),
  'flops': set(),
  'plan': {'devices', 'errors', 'partitioning', 'plan', 'training'},
  'planning': {
    'devices',
    'errors',
    'flops',
    'models',
    'output_files',
    'partitioning',
    'plan',
    'training',
  },
  'output_files': {'errors'},
  'batch': {'errors'},
  'packing': {'batch'},
  'rendezvous': {'errors'},
  'processes': {'errors', 'rendezvous'},
  'partitioning': {'batch', 'errors', 'processes'},
  'models': {'batch', 'errors', 'models', 'partitioning'},
  'training': {
    'batch',
    'devices',
    'errors',
    'flops',
    'models',
    'partitioning',
    'processes',
    'training',
  },
  'inference': {
    'errors',
    'models',
    'interop',
    'inference',
    'output_files',
    'packing',
    'training',
    'vocabulary_file',
  },
  'inspection': {
    'batch',
    'errors',
    'inference',
    'inspection',
    'models',
    'output_files',
    'training',
  },
  'reporting': {'errors', 'output_files', 'reporting', 'training'},
  'doctor': {'doctor', 'errors', 'output_files', 'reporting', 'training'},
  'interop': {'errors', 'models', 'training', 'interop', 'vocabulary_file'},
  'finetuning': {
    'batch',
    'errors',
    'finetuning',
    'inference',
    'interop',
    'models',
    'output_files',
    'packing',
    'partitioning',
    'processes',
    'training',
    'vocabulary_file',
  },
  'data': {
    'batch',
    'errors',
    'data',
    'finetuning',
    'interop',
    'output_files',
    'packing',
    'processes',
    'vocabulary_file',
  },
  'vocabulary_file': {'errors'},
  'command_line': {'devices', 'errors'},
  'macros': {'errors', 'training'},
  'main': {'command_line', 'errors', 'macros', 'main', 'processes', 'training'},
  '__init__': set(),
}


def imports(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def package(path):
  return path.relative_to(ROOT / 'bertjax').parts[0].removesuffix('.py')


@pytest.mark.parametrize('path', SOURCES, ids=lambda p: str(p.name))
def test_imports_go_in_one_direction(path):
  for name in imports(path):
    top, *rest = name.split('.')
    if top == 'bertjax' and rest:
      assert rest[0] in ALLOWED[package(path)], f'{path.name} imports {name}'
    if top in TENSORFLOW:
      assert package(path) == 'data', f'{path.name} imports {name}'
    if top == 'gin':
      assert package(path) == 'main', f'{path.name} imports {name}'


def test_everything_but_data_works_without_tensorflow():
  modules = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in SOURCES
    if package(path) not in ('data', '__init__') and path.stem != '__init__'
  ]
  assert 'bertjax.training.loop' in modules
  code = (
    'import sys, importlib\n'
    f'for name in {sorted(TENSORFLOW)}: sys.modules[name] = None\n'
    f'for name in {modules}: importlib.import_module(name)\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


def test_nothing_is_unpickled():
  for path in SOURCES:
    for name in imports(path):
      assert name.split('.')[0] not in UNPICKLING, f'{path.name} imports {name}'
    for word in ('allow_pickle=True', 'read_pickle', 'torch.load'):
      assert word not in path.read_text(), f'{path.name}: {word}'


def test_the_package_itself_imports_nothing():
  assert not list(imports(ROOT / 'bertjax' / '__init__.py'))


def test_every_package_is_installed():
  with open(ROOT / 'pyproject.toml', 'rb') as file:
    installed = set(tomllib.load(file)['tool']['setuptools']['packages'])
  folders = {path.parent for path in SOURCES if path.name == '__init__.py'}
  packages = {'.'.join(path.relative_to(ROOT).parts) for path in folders}
  assert packages <= installed
