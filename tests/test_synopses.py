"""The code in docstrings: it parses, its calls fit, and its doctests pass.

A synopsis is an indented block of a docstring. Blocks that begin with a word of
`NOT_PYTHON` are something else.
"""

import ast
import dataclasses
import doctest
import importlib
import inspect
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

ROOT = pathlib.Path(__file__).parent.parent
NOT_PYTHON = ('python -m ', 'step 500/1500')
PATHS = [
  path
  for path in sorted((ROOT / 'bertjax').rglob('*.py'))
  if path.stem != '__init__'
]
NAMES = {
  path.stem: '.'.join(path.relative_to(ROOT).with_suffix('').parts)
  for path in PATHS
}


def docstrings(path):
  """Yields (name, docstring) of a module and of all that it defines."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
      if text := ast.get_docstring(node):
        yield getattr(node, 'name', path.stem), text


def blocks(text):
  """Yields what is code in a docstring: indented paragraphs, without indent.

  A docstring with nothing but code below its first line loses the indent when
  it is formatted, so what can be parsed and calls something is code as well.
  """
  for block in re.findall(r'(?:\A|\n\n)((?: {4}.*(?:\n+|\Z))+)', text):
    yield textwrap.dedent(block).strip('\n')
  for paragraph in text.split('\n\n')[1:]:
    if not paragraph.startswith(' ') and calls_something(code_of(paragraph)):
      yield paragraph


def calls_something(code):
  try:
    tree = ast.parse(code)
  except SyntaxError:
    return False
  return any(isinstance(node, ast.Call) for node in ast.walk(tree))


def code_of(block):
  """Returns what is Python in a block: of a doctest, what is typed."""
  if '>>>' in block:
    return ''.join(
      example.source for example in doctest.DocTestParser().get_examples(block)
    )
  # Python takes `...` for the rest of the arguments only before keywords.
  return re.sub(r',\s*\.\.\.\s*\)', ', **_)', block)


@dataclasses.dataclass(frozen=True)
class Instance:
  """What a synopsis made by calling a class."""

  of: type


def look_up(owner, name):
  """Returns an attribute; None for a field, whose kind is not known."""
  kind = owner.of if isinstance(owner, Instance) else owner
  if hasattr(kind, name):
    return getattr(kind, name)
  fields = getattr(kind, '__annotations__', {})
  documented = f'  {name}:' in (inspect.getdoc(kind) or '')
  assert name in fields or documented, f'{name} of {kind} is not there'
  return None


def resolve(node, module, kinds):
  """Returns what an expression of a synopsis is; None: not known."""
  if isinstance(node, ast.Name):
    if node.id in kinds:
      return kinds[node.id]
    return getattr(module, node.id, None)
  if isinstance(node, ast.Attribute):
    if isinstance(node.value, ast.Name) and node.value.id not in kinds:
      if name := NAMES.get(node.value.id):
        return look_up(importlib.import_module(name), node.attr)
    owner = resolve(node.value, module, kinds)
    return None if owner is None else look_up(owner, node.attr)
  if isinstance(node, ast.Call):
    function = resolve(node.func, module, kinds)
    if inspect.isclass(function):
      return Instance(function)
    owner = getattr(function, '__self__', None)  # such as Predictor.load
    return Instance(owner) if inspect.isclass(owner) else None
  return None


def check_calls(code, module):
  """Raises AssertionError for what is not there and calls that do not fit.

  Returns:
    how many calls were compared with their signatures.
  """
  tree = ast.parse(code)
  kinds, checked = {}, 0
  for node in ast.walk(tree):
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
      kinds.setdefault(node.id, None)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
      kinds[node.targets[0].id] = resolve(node.value, module, kinds)
    if isinstance(node, ast.withitem) and isinstance(
      node.optional_vars, ast.Name
    ):
      found = resolve(node.context_expr, module, kinds)
      kinds[node.optional_vars.id] = (
        found if isinstance(found, Instance) else None
      )
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute):
      resolve(node, module, kinds)
    elif isinstance(node, ast.Call):
      checked += check_call(node, module, kinds)
  return checked


def check_call(node, module, kinds):
  """Compares a call with its signature; False if it is not the library's."""
  function = resolve(node.func, module, kinds)
  is_method = False
  if isinstance(function, Instance):
    function, is_method = function.of.__call__, True
  elif isinstance(node.func, ast.Attribute):
    owner = resolve(node.func.value, module, kinds)
    is_method = isinstance(owner, Instance) and inspect.isfunction(function)
  where = getattr(function, '__module__', None) or ''
  if not where.startswith('bertjax') or (
    inspect.isclass(function) and issubclass(function, Exception)
  ):
    return False
  arguments = [a for a in node.args if not is_ellipsis(a)]
  keywords = {k.arg: None for k in node.keywords if k.arg}
  is_part = (
    len(arguments) < len(node.args)
    or len(keywords) < len(node.keywords)
    or any(isinstance(a, ast.Starred) for a in arguments)
  )
  signature = inspect.signature(function)
  bind = signature.bind_partial if is_part else signature.bind
  try:
    bind(*[None] * (len(arguments) + is_method), **keywords)
  except TypeError as error:
    raise AssertionError(f'{ast.unparse(node)}: {error}') from error
  return True


def is_ellipsis(node):
  return isinstance(node, ast.Constant) and node.value is ...


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_the_calls_of_a_synopsis_fit(path):
  try:
    module = importlib.import_module(NAMES[path.stem])
  except ModuleNotFoundError as error:
    if error.name != 'apache_beam':  # of an optional requirements file
      raise
    pytest.skip('apache-beam is not installed')
  for name, text in docstrings(path):
    for block in blocks(text):
      if block.startswith(NOT_PYTHON):
        continue
      code = code_of(block)
      try:
        ast.parse(code)
      except SyntaxError as error:
        raise AssertionError(f'{name}: not Python:\n{code}') from error
      check_calls(code, module)


@pytest.mark.parametrize(
  'code, words',
  [
    ('batch.shapes(3)', 'missing'),
    ('batch.shapes(3, ...)', None),
    ('batch.chekc(3)', 'not there'),
    ('x = Totals()\nx.add({})', None),
    ('x = Totals()\nx.add({}, 1, 2, 3)', 'too many'),
    ('with Totals() as x:\n  x.mean()', 'not there'),
  ],
)
def test_a_synopsis_that_is_wrong_is_found(code, words):
  from bertjax.training import totals

  if words is None:
    assert check_calls(code, totals) > 0
    return
  with pytest.raises(AssertionError, match=words):
    check_calls(code, totals)


def test_doctests_pass_without_tensorflow():
  modules = [
    NAMES[path.stem]
    for path in PATHS
    if '>>>' in path.read_text() and '/data/' not in str(path)
  ]
  assert len(modules) > 20
  code = f"""
import doctest, importlib, sys
for name in ('tensorflow', 'tensorflow_text', 'seqio'): sys.modules[name] = None
failed = 0
for name in {modules}:
  failed += doctest.testmod(importlib.import_module(name)).failed
sys.exit(failed)
"""
  result = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
  )
  assert result.returncode == 0, result.stdout + result.stderr
