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

import re
import tokenize
from collections.abc import Callable, Iterable

from bertjax.errors import UserError, did_you_mean
from bertjax.runs import gin_bindings

# These take an unquoted string even if a file sets them to None.
_STRINGS = re.compile(
  r'(_FILES?|_DIR|_FROM|_COLUMNS?|^INPUT|^OUTPUT|^TASKS|^TEXTS|^RUNS|^METRICS'
  r'|^CHANGES|^MODEL)$'
)
_KINDS = {
  bool: 'True or False',
  int: 'a whole number',
  float: 'a number',
  str: 'a string',
  type(None): 'a value that gin can read',
  object: """text; a string needs quotes: '"text"'""",  # _UNREADABLE
}
_UNREADABLE = object()
# What MODEL was called in the recipes that use a trained model.
_NOW_MODEL = ('RUN_DIR', 'INIT_FROM')


def defined_in(configuration: str) -> dict[str, str]:
  """Returns name -> text of the value of the macros of a configuration."""
  bindings = gin_bindings.parse(configuration)
  return {name: bindings[name] for name in bindings if name.isidentifier()}


def check_used(configuration: str, names: Iterable[str] | None = None) -> None:
  """Raises UserError if nothing uses a macro.

  Args:
    configuration: the text of a configuration.
    names: of macros; None: those that the configuration defines.
  """
  used = set(re.findall(r'%([A-Za-z_]\w*)', configuration)) - {'gin'}
  for name in defined_in(configuration) if names is None else names:
    if name not in used:
      if name in _NOW_MODEL and 'MODEL' in used:
        raise UserError(
          f'{name} is now MODEL in this recipe; set --gin.MODEL=VALUE'
        )
      near = did_you_mean(name.upper(), used, cutoff=0.5)
      known = near or f'; there are {", ".join(sorted(used))}'
      raise UserError(f'nothing uses the macro {name}{known}')


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
  if not name.isidentifier():
    return binding  # a parameter, or a statement such as an import
  check_used(configuration, [name])
  default = _value(defined_in(configuration).get(name, 'None'), parse)
  value = _value(text, parse)
  wants_text = isinstance(default, str) or _STRINGS.search(name)
  number_as_text = isinstance(default, str) and isinstance(value, int | float)
  if number_as_text or (wants_text and value is _UNREADABLE):
    return f'{name}={text!r}'
  several = isinstance(default, list | tuple) and (
    isinstance(value, list | tuple) or type(value) in map(type, default)
  )
  fits = (
    wants_text
    or several
    or value is None
    or default in (None, _UNREADABLE)
    or type(value) is type(default)
    or (type(default), type(value)) == (float, int)
  )
  if value is _UNREADABLE or not fits:
    raise UserError(
      f'--gin.{name}={text}: {_kind(default)} is expected, got {_kind(value)}'
    )
  return f'{name}={text}'


def _value(text: str, parse: Callable[[str], object]) -> object:
  """Returns a gin value; None if it is computed: @function or %MACRO."""
  if re.match('[@%].', text):
    return None
  try:
    return parse(text)
  except (SyntaxError, ValueError, tokenize.TokenError):
    return _UNREADABLE


def _kind(value: object) -> str:
  return _KINDS.get(type(value), f'a {type(value).__name__}')
