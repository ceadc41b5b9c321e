"""What a parameter takes, read from its annotation without importing it.

    >>> sorted(kinds('bertjax.training.loop.train.eval_steps').alone)
    ['None', 'int']
    >>> kinds('bertjax.training.loop.train.profile_steps')  # Sequence | None
    Kinds(alone=frozenset({'None'}), items=frozenset({'int'}))

An alias is followed, also into the module that it is imported from, and
`**values: Annotated[Any, specs.Task]` means: named and annotated as there.
"""

import ast
import functools
import os
import pathlib
import sys
from typing import NamedTuple

OTHER = 'other'  # anything that a command line has no form for, or unknown
_PLAIN = {'int', 'float', 'bool', 'str'}
_SEVERAL = {'Sequence', 'Iterable', 'Collection', 'list', 'tuple', 'set'}


class Kinds(NamedTuple):
  """The kinds of values that are taken.

  Attributes:
    alone: some of 'int', 'float', 'bool', 'str', 'None' and OTHER.
    items: of what there may be several; empty: of none.
  """

  alone: frozenset[str] = frozenset()
  items: frozenset[str] = frozenset()

  def __or__(self, other: 'Kinds') -> 'Kinds':  # type: ignore[override]
    return Kinds(self.alone | other.alone, self.items | other.items)


_UNKNOWN = Kinds(frozenset({OTHER}))


def kinds(parameter: str) -> Kinds:
  """Returns what 'package.module.function.parameter' takes."""
  if parameter.count('.') < 2:  # of a module that the file does not import
    return _UNKNOWN
  module, function, name = parameter.rsplit('.', 2)
  return _parameter(module, function, name)


def _parameter(module: str, function: str, name: str) -> Kinds:
  module, found = _find(module, function)
  if isinstance(found, ast.ClassDef):
    for node in found.body:
      if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
        return _kinds(node.annotation, module)
    methods = (x for x in found.body if isinstance(x, ast.FunctionDef))
    found = next((x for x in methods if x.name == '__init__'), None)
  if not isinstance(found, ast.FunctionDef):
    return _UNKNOWN
  for argument in (*found.args.args, *found.args.kwonlyargs):
    if argument.arg == name and argument.annotation:
      return _kinds(argument.annotation, module)
  others = found.args.kwarg
  match others and others.annotation:
    case ast.Subscript(
      value=ast.Name(id='Annotated'), slice=ast.Tuple(elts=[_, there, *_])
    ):
      return _parameter(module, ast.unparse(there), name)
  return _UNKNOWN


def _kinds(node: ast.expr, module: str) -> Kinds:
  match node:
    case ast.Constant(value=None):
      return Kinds(frozenset({'None'}))
    case ast.Constant(value=str(text)):
      return _kinds(ast.parse(text, mode='eval').body, module)
    case ast.BinOp(left=left, right=right):
      return _kinds(left, module) | _kinds(right, module)
    case ast.Subscript(value=value, slice=inside):
      head = ast.unparse(value).rpartition('.')[2]
      parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
      parts = [x for x in parts if ast.unparse(x) != '...']
      if head == 'Annotated':
        return _kinds(parts[0], module)
      if head == 'Literal':
        values = (x.value for x in parts if isinstance(x, ast.Constant))
        return Kinds(frozenset(type(value).__name__ for value in values))
      found = functools.reduce(
        Kinds.__or__, (_kinds(part, module) for part in parts), Kinds()
      )
      if head in ('Optional', 'Union'):
        none = {'None'} if head == 'Optional' else set()
        return found | Kinds(frozenset(none))
      if head in _SEVERAL:
        return Kinds(items=found.alone | found.items - {OTHER})
      return _UNKNOWN
    case ast.Name() | ast.Attribute():
      name = ast.unparse(node)
      if name in _PLAIN:
        return Kinds(frozenset({name}))
      module, meant = _find(module, name)
      if isinstance(meant, ast.expr):
        return _kinds(meant, module)
  return _UNKNOWN


def _find(module: str, name: str) -> tuple[str, ast.AST | None]:
  """Returns where a name is defined, and its class, function or value."""
  first, dot, rest = name.partition('.')
  for node in _body(module):
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
      for alias in node.names:
        if (alias.asname or alias.name) == first:
          inner = f'{node.module}.{alias.name}'
          return _find(inner, rest) if dot else _find(node.module, alias.name)
    elif isinstance(node, ast.Import):
      for alias in node.names:
        prefix = f'{alias.asname or alias.name}.'
        if name.startswith(prefix):
          return _find(alias.name, name.removeprefix(prefix))
    elif isinstance(node, ast.ClassDef | ast.FunctionDef):
      if node.name == name:
        return module, node
    elif isinstance(node, ast.Assign):
      if name in map(ast.unparse, node.targets):
        return module, node.value
  return module, None


@functools.cache
def _body(module: str) -> list[ast.stmt]:
  """Returns the statements of a module; [] if its source is not found.

  Not by importlib, which would import the packages that it is in.
  """
  for folder in sys.path:
    path = os.path.join(folder, *module.split('.'))
    for file in (f'{path}.py', os.path.join(path, '__init__.py')):
      try:
        return ast.parse(pathlib.Path(file).read_bytes()).body
      except (OSError, SyntaxError, ValueError):
        continue
  return []
