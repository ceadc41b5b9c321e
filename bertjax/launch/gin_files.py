"""Reads gin files without importing what they configure.

    configuration = read(['recipes/quickstart.gin'], folders)
    configuration.macros['LENGTH'].value          # 64
    configuration.users()['LENGTH']  # 'bertjax.batch.shapes.length' and others

That takes milliseconds, and the imports of a recipe seconds. So mistakes of the
command line are told at once, and `--help RECIPE` knows what a recipe takes.
"""

import dataclasses
import glob
import io
import os
import pathlib
import re
import tokenize
from collections.abc import Iterator, Sequence
from typing import Any

import gin

from bertjax.errors import UserError, did_you_mean


class Reference(str):
  """A value that is computed: @function, @function() or %MACRO."""

  __repr__ = str.__str__


# Some editors of Windows begin a file with a mark of UTF-8.
ENCODING = 'utf-8-sig'
REQUIRED = Reference('%gin.REQUIRED')


@dataclasses.dataclass
class Macro:
  """A macro of a configuration.

  Attributes:
    value: the last one that the files give it.
    meaning: the comment where it is introduced, or else a later one.
    file: the last one that binds it.
    order: that binding's place among those of all macros.
    anew: whether a file binds it before.
  """

  value: Any
  meaning: str = ''
  file: str = ''
  order: int = 0
  anew: bool = False


@dataclasses.dataclass
class Configuration:
  """What gin files bind, later ones winning.

  Attributes:
    macros: by name, in the order of the files.
    parameters: (scope, 'package.module.function.parameter') -> value.
    functions: all that the files configure or refer to, as package.module.name.
  """

  macros: dict[str, Macro] = dataclasses.field(default_factory=dict)
  parameters: dict[tuple[str, str], Any] = dataclasses.field(
    default_factory=dict
  )
  functions: set[str] = dataclasses.field(default_factory=set)

  def users(self) -> dict[str, list[str]]:
    """Returns macro -> the parameters and macros that have its value."""
    found: dict[str, list[str]] = {}
    bound = [(name, value) for (_, name), value in self.parameters.items()]
    bound += [(name, macro.value) for name, macro in self.macros.items()]
    for name, value in bound:
      for reference in references(value):
        if reference.startswith('%') and reference != REQUIRED:
          found.setdefault(reference[1:], []).append(name)
    return found


def references(value: Any) -> Iterator[Reference]:
  """Yields the references in a value and its items."""
  if isinstance(value, Reference):
    yield value
  elif isinstance(value, dict):
    yield from references([*value, *value.values()])
  elif isinstance(value, list | tuple):
    for item in value:
      yield from references(item)


def find(file: str, folders: Sequence[str]) -> str | None:
  """Returns the path of a gin file here or in the folders; None: no such."""
  paths = [os.path.join(folder, file) for folder in ('', *folders)]
  return next(filter(os.path.isfile, paths), None)


def read(files: Sequence[str], folders: Sequence[str]) -> Configuration:
  """Returns what the files and those that they include bind.

  Raises:
    UserError: a line that is no gin, an include that is not there, or one that
      replaces what stands above it.
  """
  configuration = Configuration()
  for file in files:
    _read(file, folders, configuration, ())
  return configuration


def _read(
  file: str,
  folders: Sequence[str],
  into: Configuration,
  within: tuple[str, ...],
) -> None:
  path = find(file, folders)
  if path is None or file in within:
    what = 'is not there' if path is None else 'includes itself'
    where = f'{within[-1]} includes {file}, which ' if within else f'{file} '
    names = [
      x for folder in folders for x in glob.glob('*/*.gin', root_dir=folder)
    ]
    near = did_you_mean(file, names, cutoff=0.4) if path is None else ''
    raise UserError(f'{where}{what}{near}; mend the include')
  try:
    text = pathlib.Path(path).read_text(ENCODING)
  except (OSError, ValueError) as error:
    fix = '; save it as UTF-8' if isinstance(error, ValueError) else ''
    raise UserError(f'{file} cannot be read as text: {error}{fix}') from error
  comments = _comments(text)
  imports: dict[str, str] = {}
  own: dict[str, Any] = {}  # macros of this file so far

  def full(name: str) -> str:
    first, dot, rest = name.partition('.')
    return imports.get(first, first) + dot + rest

  for statement in parse(text, file):
    if hasattr(statement, 'module'):
      whole = statement.is_from or statement.alias
      name = statement.bound_name()
      imports[name] = statement.module if whole else name
    elif hasattr(statement, 'filename'):
      _read(statement.filename, folders, into, (*within, file))
      for name, value in own.items():
        if into.macros[name].value != value:
          raise UserError(
            f'{file}, line {statement.location.line_num}: the include of '
            f'{statement.filename} sets {name} anew, which stands above it; '
            f'put {name} below the include'
          )
    elif hasattr(statement, 'value'):
      if not statement.arg_name:
        name = '/'.join(filter(None, (statement.scope, statement.selector)))
        meaning = _meaning(comments, statement.location.line_num)
        known = into.macros.get(name)
        if known:
          meaning = known.meaning or meaning
        order = 1 + max((x.order for x in into.macros.values()), default=0)
        into.macros[name] = Macro(
          statement.value, meaning, file, order, known is not None
        )
        own[name] = statement.value
      else:
        function = full(statement.selector)
        into.functions.add(function)
        name = f'{function}.{statement.arg_name}'
        into.parameters[statement.scope, name] = statement.value
      for reference in references(statement.value):
        if reference.startswith('@'):
          name = reference.rpartition('/')[2].strip('@()')
          into.functions.add(full(name))


# ------------------------------------------------------------------- comments


def _comments(text: str) -> dict[int, tuple[bool, str]]:
  """Returns line -> (whether it has nothing else, comment)."""
  found: dict[int, tuple[bool, str]] = {}
  try:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
      if token.type == tokenize.COMMENT:
        row, column = token.start
        alone = not token.line[:column].strip() and column > 0
        found[row] = alone, token.string.lstrip('# ')
  except (tokenize.TokenError, SyntaxError):
    pass  # `parse` says so
  return found


def _meaning(comments: dict[int, tuple[bool, str]], row: int) -> str:
  """Returns the comment behind a binding, with the indented lines below it."""
  lines = [comments[row][1]] if row in comments else []
  while lines and comments.get(row + 1, (False,))[0]:
    row += 1
    lines.append(comments[row][1])
  return ' '.join(lines)


def header(path: str) -> list[str]:
  """Returns the lines of the comment that a file begins with."""
  lines = []
  for line in pathlib.Path(path).read_text(ENCODING).splitlines():
    if not line.startswith('#'):
      break
    lines.append(line.removeprefix('#').removeprefix(' '))
  return lines


# --------------------------------------------------------------------- syntax


class _AsText(gin.config_parser.ParserDelegate):
  """Lets gin's parser import and make nothing."""

  def configurable_reference(self, name: str, evaluate: bool) -> object:
    return Reference(f'@{name}{"()" if evaluate else ""}')

  def macro(self, name: str) -> object:
    return Reference(f'%{name}')


def parse(text: str, where: str) -> list[Any]:
  """Returns the statements of a text in gin's syntax.

  Args:
    where: the file; or the flag, if that begins with `--`.

  Raises:
    UserError: a line that is none; with its number, itself, and what is meant.
  """
  try:
    return list(gin.config_parser.ConfigParser(io.StringIO(text), _AsText()))
  except tokenize.TokenError as error:
    message, (row, _) = error.args
  except SyntaxError as error:
    message, row = str(error.msg), error.lineno or 1
  except ValueError as error:  # such as a name that gin reserves
    message, row = str(error), 1
  except RecursionError:
    deepest = max(text.splitlines(), key=lambda x: sum(map(x.count, '[({')))
    message = 'brackets are nested too deeply'
    row = 1 + text.splitlines().index(deepest)
  if (opened := _open_bracket(text)) and opened <= row:
    row, message = opened, 'a bracket is not closed'
  elif message.startswith('Expected indentation'):
    row -= 1  # below it
  lines = text.splitlines()
  line = lines[min(row, len(lines)) - 1].strip() if lines else ''
  if not where.startswith('--'):
    where = f'{where}, line {row}: {line:.80}'
  raise UserError(f'{where}: {_meant(line, message)}')


def _open_bracket(text: str) -> int | None:
  """Returns the line of the last bracket that nothing closes, if any."""
  rows: list[int] = []
  try:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
      if token.type == tokenize.OP and token.string in '([{':
        rows.append(token.start[0])
      elif token.type == tokenize.OP and token.string in ')]}' and rows:
        rows.pop()
  except (tokenize.TokenError, SyntaxError):
    pass
  return rows[-1] if rows else None


def _meant(line: str, message: str) -> str:
  """Returns what is wrong with a line and what to write."""
  binding = re.match(r'([A-Za-z_][\w./]*)\s*(:=|[=:])\s*([^#]*)', line)
  if include := re.match(r'include\s+([^\'"\s]+)$', line):
    return f"a file needs quotes: include '{include[1]}'"
  if not binding:
    return (
      "expected NAME = VALUE, include 'FILE' or from MODULE import NAME"
      if message.startswith(("Couldn't", 'Unexpected', 'Malformatted'))
      else _plain(message)
    )
  name, sign, value = (part.strip() for part in binding.groups())
  if not value:
    return (
      f'expected a value: {name} = VALUE'
      if '=' in sign
      else 'expected indented lines PARAMETER = VALUE below'
    )
  if value.lower() in ('null', 'nil'):
    return f'write {name} = None'
  if value.lower() in ('true', 'false', 'none'):
    return f'write {name} = {value.capitalize()}'
  if sign != '=':
    return f'write {name} = {value}'
  if re.match(r'[A-Za-z_./~$*]', value) and not re.search('[\'"]', value):
    return f'a text needs quotes: {name} = {value!r}'
  return _plain(message)


def _plain(message: str) -> str:
  message = ' '.join(message.split())
  expected = re.match(r'Expected (.*?)\.(?: |$)', message)
  if message.startswith('Unable to parse value') or 'parse token' in message:
    return 'expected a value: a number, a text in quotes, True, False or None'
  if expected:
    what = expected[1].replace('newline', 'the end of the line')
    return f'expected {what}'
  return message[:1].lower() + message[1:]
