"""Checks the macros of a configuration and of the command line.

    >>> import ast
    >>> configuration = "RUN_DIR = 'a'\\nrun.directory = %RUN_DIR\\nSTEPS = 1"
    >>> quote('RUN_DIR=runs/x', configuration, ast.literal_eval)
    "RUN_DIR='runs/x'"
    >>> check_used(configuration)
    Traceback (most recent call last):
    bertjax.errors.UserError: nothing uses the macro STEPS; there are RUN_DIR

gin silently accepts a misspelt macro and answers an unquoted string with a
SyntaxError. Nothing here imports gin: a configuration is the text of
`gin.config_str()`.
"""

import difflib
import re
import tokenize
from collections.abc import Callable

from bertjax.errors import UserError
from bertjax.runs import gin_bindings

# These take an unquoted string even if a file sets them to None.
_STRINGS = re.compile(
  r'(_FILES?|_DIR|_FROM|_COLUMNS?|^INPUT|^OUTPUT|^TASKS|^TEXTS|^RUNS|^METRICS'
  r'|^CHANGES)$'
)


def defined_in(configuration: str) -> dict[str, str]:
  """Returns name -> text of the value of the macros of a configuration."""
  bindings = gin_bindings.parse(configuration)
  return {k: v for k, v in bindings.items() if re.fullmatch(r'\w+', k)}


def used_in(configuration: str) -> set[str]:
  """Returns the names of the macros that values refer to."""
  return set(re.findall(r'%([A-Za-z_]\w*)', configuration)) - {'gin'}


def check_used(configuration: str) -> None:
  """Raises UserError if a macro is defined that nothing uses."""
  used = used_in(configuration)
  for name in defined_in(configuration):
    if name not in used:
      raise UserError(_unknown(name, used))


def quote(
  binding: str, configuration: str, parse: Callable[[str], object]
) -> str:
  """Returns a NAME=VALUE of the command line in gin's syntax.

  Args:
    binding: what follows `--gin.`; unchanged unless it sets a macro.
    configuration: the text of the files' configuration.
    parse: gin's parser of a value.

  Raises:
    UserError: nothing uses the macro, or the value has the wrong type.
  """
  name, equals, text = (part.strip() for part in binding.partition('='))
  if not equals:
    raise UserError(f'--gin.{binding}: a value is expected: --gin.{name}=VALUE')
  if not re.fullmatch(r'[A-Za-z_]\w*', name):
    return binding  # a parameter, or a statement such as an import
  used = used_in(configuration)
  if name not in used:
    raise UserError(_unknown(name, used))
  default = _value(defined_in(configuration).get(name, 'None'), parse)
  value = _value(text, parse)
  wants_text = isinstance(default, str) or _STRINGS.search(name) is not None
  if value is _UNREADABLE or (
    isinstance(default, str) and isinstance(value, int | float | bool)
  ):
    if not wants_text:
      raise UserError(
        f'--gin.{name}={text}: {_kind(default)} is expected'
        f'; for a string, quote it: --gin.{name}=\'"{text}"\''
      )
    return f'{name}={text!r}'
  numbers = isinstance(default, float) and type(value) is int
  several = isinstance(default, list | tuple) and (
    isinstance(value, list | tuple) or type(value) in map(type, default)
  )
  fits = numbers or several
  if None not in (value, default) and not fits and value is not _REFERENCE:
    same = isinstance(value, type(default)) and (
      isinstance(value, bool) == isinstance(default, bool)
    )
    if default is not _REFERENCE and not same and not wants_text:
      raise UserError(
        f'--gin.{name}={text}: {_kind(default)} is expected, got {_kind(value)}'
      )
  return f'{name}={text}'


class _Reference:
  """Stands for a computed value: @function or %MACRO."""


_REFERENCE = _Reference()
_UNREADABLE = object()


def _value(text: str, parse: Callable[[str], object]) -> object:
  """Returns a gin value, _REFERENCE, or _UNREADABLE if gin cannot parse it."""
  if text[:1] in '@%':
    return _REFERENCE if len(text) > 1 else _UNREADABLE
  try:
    return parse(text)
  except (SyntaxError, ValueError, tokenize.TokenError):
    return _UNREADABLE


def _kind(value: object) -> str:
  kinds: dict[type, str] = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a number',
    str: 'a string',
    _Reference: 'a value that gin can read',
    type(None): 'None or a value that gin can read',
  }
  return kinds.get(type(value), f'a {type(value).__name__}')


def _unknown(name: str, used: set[str]) -> str:
  near = difflib.get_close_matches(name.upper(), used, n=1, cutoff=0.5)
  hint = (
    f'did you mean {near[0]}?'
    if near
    else (f'there are {", ".join(sorted(used))}')
  )
  return f'nothing uses the macro {name}; {hint}'
