"""NAME=VALUE of the command line as a line of gin, checked.

    as_gin('RUN_DIR=runs/x', configuration)  # RUN_DIR='runs/x'
    as_gin('LENGTH=long', configuration)     # UserError: a whole number
    check_used(configuration, ['LENGHT'])    # UserError: did you mean LENGTH?

A shell gives texts without quotes, `true` and `none`. What a value is to be is
known from the default of the macro and the annotations of its parameters.
"""

import ast
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bertjax.errors import UserError, did_you_mean
from bertjax.launch import annotations, recipes
from bertjax.launch.annotations import OTHER, Kinds
from bertjax.launch.gin_files import (
  REQUIRED,
  Configuration,
  Reference,
  references,
)

# A prepared corpus has its text, without which there would be none, and its
# vocabulary.
_IN_PLACE = {'CORPUS_DIR': ('TEXT_FILES', 'VOCAB_FILE')}
# Macro -> those that have no effect beside it.
_WITHOUT_EFFECT = {
  'VOCAB_FILE': ('VOCAB_SIZE', 'TOKENIZER'),
  'CORPUS_DIR': ('VOCAB_SIZE', 'TOKENIZER', 'CASED', 'TEXT_COLUMN'),
  'INIT_FROM': ('VOCAB_SIZE', 'TOKENIZER', 'CASED'),
  'RATES': ('TEMPERATURE',),
  'TOKEN_BUDGET': ('TRAIN_STEPS',),
}
# What MODEL was called in the recipes that use a trained model.
_NOW_MODEL = ('RUN_DIR', 'INIT_FROM')
# Of texts with commas only these are lists: a path or a column may have one.
_SPLIT = ('CHANGES', 'CORPUS_DIR', 'METRICS', 'RULES', 'RUNS', 'TASKS')
# The scope in which recipes/plan.gin binds what it does not use.
_NOWHERE = 'no_data'
_WORDS = {'true': True, 'false': False, 'none': None}
# One, and several.
_NAMES = {
  'bool': ('True or False', 'of True and False'),
  'int': ('a whole number', 'whole numbers'),
  'float': ('a number', 'numbers'),
  'str': ('a text', 'texts'),
}


def check_used(configuration: Configuration, names: Iterable[str]) -> None:
  """Raises UserError if nothing uses one of these macros."""
  used = sorted(configuration.users())
  for name in names:
    if name not in used:
      if name in _NOW_MODEL and 'MODEL' in used:
        raise UserError(
          f'{name} is now MODEL in this recipe; set --gin.MODEL=VALUE'
        )
      if having := recipes.using(name):
        more = f' and {len(having) - 3} more' if having[3:] else ''
        raise UserError(
          f'this recipe has no macro {name}, unlike {", ".join(having[:3])}'
          f'{more}; leave it out, or see --help RECIPE'
        )
      near = did_you_mean(name.upper(), used, cutoff=0.5)
      known = near or f'; there are {", ".join(used)}'
      raise UserError(f'nothing uses the macro {name}{known}')


def sharing(name: str, configuration: Configuration) -> str:
  """Returns which macro the files give a parameter, and to what else; or ''."""
  scope, _, name = name.rpartition('/')
  for (where, known), value in configuration.parameters.items():
    is_it = where == scope and f'.{known}'.endswith(f'.{name}')
    if is_it and isinstance(value, Reference) and value.startswith('%'):
      users = configuration.users()[value[1:]]
      others = ['.'.join(x.split('.')[-3:]) for x in users if x != known]
      if others:
        return f'{" and ".join(others)}; set {value[1:]} for all'
  return ''


def check_scopes(configuration: Configuration, bound: Iterable[str]) -> None:
  """Raises UserError if no reference uses a scope; gin would say nothing.

  Args:
    configuration: of the files and bindings.
    bound: the scopes of the bindings.
  """
  values = [macro.value for macro in configuration.macros.values()]
  known = {
    part
    for reference in references([*configuration.parameters.values(), *values])
    if reference.startswith('@')
    for part in reference.strip('@()').split('/')[:-1]
  }
  scopes = {*bound, *(scope for scope, _ in configuration.parameters)}
  parts = {x for scope in scopes for x in scope.split('/')}
  for part in sorted(parts - known - {'', _NOWHERE}):
    near = did_you_mean(part, known)
    if near or part in bound:  # Python may enter others
      having = near or f'; there are {", ".join(sorted(known)) or "none"}'
      raise UserError(f'nothing uses the scope {part}{having}')


def check_unscoped(name: str, configuration: Configuration) -> None:
  """Raises UserError for a parameter that every use sets in its own scope."""
  if '/' in name or '.' not in name:
    return
  scopes = {
    scope
    for scope, known in configuration.parameters
    if scope and f'.{known}'.endswith(f'.{name}')
  }
  function = f'.{name.rpartition(".")[0]}'
  macros = [macro.value for macro in configuration.macros.values()]
  used = {
    found.strip('@()').rpartition('/')[::2]
    for found in references([*configuration.parameters.values(), *macros])
    if found.startswith('@')
  }
  within = {
    scope
    for scope, made in used
    if function.endswith(f'.{made}') or f'.{made}'.endswith(function)
  }
  if within and within <= scopes:
    each = ' or '.join(f'{scope}/{name}' for scope in sorted(within))
    raise UserError(
      f'{name} is set for each use of its own, so it has no effect; set {each}'
    )


def in_place(
  configuration: Configuration, bindings: Sequence[str]
) -> list[str]:
  """Returns bindings of macros that another one takes the place of.

  Raises:
    UserError: both are bound.
  """
  bound = dict(x.partition('=')[::2] for x in bindings)
  found = []
  for name, others in _IN_PLACE.items():
    if not _is_set(name, bound, configuration):
      continue
    for other in others:
      if _is_beside(name, other, bound, configuration):
        raise UserError(
          f'{name} takes the place of {" and ".join(others)}; leave {other} out'
        )
      if other in configuration.macros and other not in bound:
        found.append(f'{other}=None')
  return found


def check_effects(
  configuration: Configuration, bindings: Iterable[str]
) -> None:
  """Raises UserError for a macro that another one leaves without effect.

  Neither a default counts, nor what a file sets that a later one builds on.
  """
  bound = dict(x.partition('=')[::2] for x in bindings)
  for name, others in _WITHOUT_EFFECT.items():
    if not _is_set(name, bound, configuration):
      continue
    for other in others:
      in_files = other not in bound and other in configuration.macros
      # config.gin of a run has all macros, each once.
      if in_files and not configuration.macros[other].anew:
        continue
      if _is_beside(name, other, bound, configuration):
        raise UserError(
          f'{name} is set, so {other} has no effect; leave it out, or set '
          f'{name} to None'
        )


def _is_set(
  name: str, bound: Mapping[str, str], configuration: Configuration
) -> bool:
  macro = configuration.macros.get(name)
  return bound.get(name, repr(macro.value if macro else None)) != 'None'


def _is_beside(
  name: str,
  other: str,
  bound: Mapping[str, str],
  configuration: Configuration,
) -> bool:
  """Returns whether `other` is set where `name` is, or later."""
  if other in bound:
    return bound[other] != 'None'
  one, two = (configuration.macros.get(x) for x in (name, other))
  if not two or two.value in (None, REQUIRED) or not one or name in bound:
    return False
  return two.file == one.file or two.order > one.order


def check_required(
  configuration: Configuration, bindings: Iterable[str]
) -> None:
  """Raises UserError for macros that are required and not bound."""
  bound = dict(x.partition('=')[::2] for x in bindings)
  missing = [
    name
    for name, macro in configuration.macros.items()
    if macro.value == REQUIRED and name not in bound
  ]
  for name, (first, *_) in _IN_PLACE.items():
    if bound.get(first) == 'None' and not _is_set(name, bound, configuration):
      raise UserError(
        f'expected a value of {first}, got None; set --gin.{first}=VALUE, or '
        f'--gin.{name}=VALUE in its place'
      )
  if missing:
    flags = ' '.join(f'--gin.{name}=VALUE' for name in missing)
    several = 'are required; set them' if missing[1:] else 'is required; set it'
    instead = [
      f', or --gin.{name}=VALUE in its place'
      for name, others in _IN_PLACE.items()
      if name in configuration.macros and set(missing) & set(others)
    ]
    raise UserError(
      f'{" and ".join(missing)} {several} with {flags}{"".join(instead)}'
    )


def as_gin(binding: str, configuration: Configuration) -> str:
  """Returns a NAME=VALUE of the command line in gin's syntax.

  Args:
    binding: what follows `--gin.`; unchanged if it is another statement.
    configuration: of the files.

  Raises:
    UserError: the value is none that the macro or parameter takes.
  """
  name, equals, text = (part.strip() for part in binding.partition('='))
  if re.match(r'(import|from|include)\s', binding):
    return binding
  if not equals or not text:
    bare = re.split('[: ]', name)[0]
    raise UserError(f'--gin.{name}: a value is expected: --gin.{bare}=VALUE')
  if '-' in name:
    meant = name.replace('-', '_')
    raise UserError(f'--gin.{name}: did you mean --gin.{meant}')
  kinds = _expected(name, configuration)
  try:
    return f'{name}={_value(name, text, kinds)!r}'
  except _Unfit as error:
    raise UserError(
      f'--gin.{name}={text}: expected {_describe(kinds)}, got {error}'
    ) from error


# ---------------------------------------------------------- what is to be there


def _expected(name: str, configuration: Configuration) -> Kinds:
  if name.isidentifier():
    return _of_macro(name, configuration)
  scope, _, name = name.rpartition('/')
  function, _, parameter = name.rpartition('.')
  found = Kinds()
  for known in configuration.functions:
    if f'.{known}'.endswith(f'.{function}'):
      bound = configuration.parameters.get((scope, f'{known}.{parameter}'))
      found |= annotations.kinds(f'{known}.{parameter}') | _of_default(bound)
  return found


def _of_macro(
  name: str, configuration: Configuration, above: tuple[str, ...] = ()
) -> Kinds:
  macro = configuration.macros.get(name)
  found = _of_default(macro.value) if macro else Kinds()
  for user in configuration.users().get(name, []):
    if '.' in user:
      found |= annotations.kinds(user)
    elif user not in (name, *above):  # a cycle is told later
      found |= _of_macro(user, configuration, (name, *above))
  return found


def _of_default(value: Any) -> Kinds:
  if value is None or isinstance(value, Reference | dict):
    return Kinds()
  if isinstance(value, list | tuple):
    items = frozenset(type(x).__name__ for x in value) & {*_NAMES}
    return Kinds(items, items)
  return Kinds(frozenset({type(value).__name__}))


def _describe(kinds: Kinds) -> str:
  alone = [one for name, (one, _) in _NAMES.items() if name in kinds.alone]
  several = [more for name, (_, more) in _NAMES.items() if name in kinds.items]
  lists = [f'several {" or ".join(several)}'] if several else []
  none = ['None'] if 'None' in kinds.alone else []
  return ' or '.join([*alone, *lists, *none])


# --------------------------------------------------------------- what is there


class _Unfit(Exception):
  """A value of another kind; the message describes it."""


def _value(name: str, text: str, kinds: Kinds) -> Any:
  """Returns the value that a text of the command line means."""
  known = (kinds.alone | kinds.items) - {OTHER, 'None'}
  if re.fullmatch(r'%[\w./]+|@[\w./]+(\(\))?', text):
    return Reference(text)
  value = _literal(text)
  if isinstance(value, str) and value == text:  # a bare one
    if re.match(r'[\[({].*[%@][A-Za-z]', text):
      return Reference(text)  # a list or dict with references
    if re.match(r'([\'"])(?!.*\1.)|[\[({]\s*[\'"]', text):
      raise _Unfit(f'{text}, in which a quote or bracket is not closed')
    if text.lower() in _WORDS and (
      text.lower() == 'none' or 'bool' in kinds.alone or not known
    ):
      return _WORDS[text.lower()]
  if value is None or not known:
    return value
  items = value if isinstance(value, list | tuple) else [value]
  if not all(math.isfinite(x) for x in items if isinstance(x, float)):
    raise _Unfit(f'{text}, which is not finite')
  takes_text = 'str' in kinds.alone
  if isinstance(value, str):
    only_several = 'str' in kinds.items and not takes_text
    if ',' in value and value == text and (only_several or name in _SPLIT):
      parts = value.removeprefix('[').removesuffix(']').split(',')
      return [part.strip() for part in parts if part.strip()]
    value = [value] if only_several else value
  if _takes(kinds, value):
    return value
  if isinstance(value, float) and 'int' in kinds.alone and value % 1 == 0:
    return int(value)  # 1e6 steps
  if takes_text and text[0] not in '[({"\'':
    return text  # a folder that is called 2026
  raise _Unfit(_got(value))


def _takes(kinds: Kinds, value: Any) -> bool:
  if isinstance(value, list | tuple):
    fits = bool(kinds.items) and _fits(value, kinds.items)
  else:
    fits = _fits(value, kinds.alone)
  # What has no form here is no text, nor a number where a text is taken.
  plain = str | int | float if 'str' in kinds.alone else str
  return fits or (OTHER in kinds.alone and not isinstance(value, plain))


def _literal(text: str) -> Any:
  """Returns the value that a text is in Python and gin, or else the text."""
  try:
    value = ast.literal_eval(text)
  except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError):
    return text
  plain = bool | int | float | str | list | tuple | dict | None
  return value if isinstance(value, plain) else text


def _fits(value: Any, kinds: Iterable[str]) -> bool:
  if isinstance(value, list | tuple):  # in a list: a pair of texts
    return all(_fits(item, kinds) for item in value)
  name = type(value).__name__
  return name in kinds or (name == 'int' and 'float' in kinds)


def _got(value: Any) -> str:
  if isinstance(value, str):
    return f'the text {value!r}'
  if isinstance(value, int | float) and not isinstance(value, bool):
    return f'the number {value!r}'
  return repr(value)
