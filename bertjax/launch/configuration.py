"""A recipe and its bindings, checked and made gin's configuration.

    configuration.understand(['quickstart'], ['TRAIN_STEPS=100'])
    configuration.parse(['quickstart'], ['TRAIN_STEPS=100'])

The first imports nothing that the recipe names, so it takes milliseconds.
"""

import contextlib
import functools
import inspect
import os
import pkgutil
import re
import types
import typing
from collections import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gin

from bertjax import values
from bertjax.errors import UserError, choose, did_you_mean
from bertjax.launch import command_line, gin_files, macros, recipes
from bertjax.runs import gin_bindings

# gin's second reader mistakes a folder such as the user's `data/` for a Python
# package and fails.
_open = functools.partial(open, encoding=gin_files.ENCODING)
gin.config._FILE_READERS = [(_open, os.path.isfile)]


def understand(
  files: Sequence[str],
  bindings: Sequence[str],
  folders: Sequence[str] = (),
  tell: bool = False,
) -> tuple[list[str], list[str]]:
  """Checks gin files and bindings, and imports nothing that they name.

  Args:
    files: or names of recipes; later ones override earlier ones.
    bindings: NAME=VALUE as a shell gives it, or lines of gin; override files.
    folders: searched for files before the project's own gin_configs.
    tell: whether to print what is allowed but seldom meant.

  Returns:
    the files in the order in which they count, and bindings as lines of gin.

  Raises:
    UserError: anything misspelt, missing or unreadable.
  """
  paths = [*folders, *command_line.search_paths()]
  files = recipes.resolve(files, paths)
  configuration = gin_files.read(files, paths)
  if not any(name.endswith('run.job') for _, name in configuration.parameters):
    raise UserError(f'expected a recipe, got {" and ".join(files)}; see --list')
  lines, scopes = [], []
  for binding in bindings:
    name = binding.partition('=')[0].strip()
    if name.isidentifier():
      macros.check_used(configuration, [name])
    macros.check_unscoped(name, configuration)
    lines.append(macros.as_gin(binding, configuration))
    if tell and (others := macros.sharing(name, configuration)):
      print(f'warning: {name} alone is set, apart from {others}', flush=True)
  lines += macros.in_place(configuration, lines)
  for binding, line in zip(
    [*bindings, *lines[len(bindings) :]], lines, strict=True
  ):
    for found in gin_files.parse(line, f'--gin.{binding}'):
      if hasattr(found, 'value'):
        configuration.parameters['', binding] = found.value
        # That of a macro is a part of its name.
        scopes.append(found.scope if found.arg_name else '')
  macros.check_used(configuration, configuration.macros)
  macros.check_scopes(configuration, scopes)
  macros.check_required(configuration, lines)
  macros.check_effects(configuration, lines)
  _check_size(configuration, files, lines)
  return files, lines


def _check_size(
  configuration: gin_files.Configuration,
  files: Sequence[str],
  lines: Sequence[str],
) -> None:
  """Refuses a size of a model where INIT_FROM brings its own."""
  set_here = dict(re.split(' *= *', x, maxsplit=1) for x in lines if '=' in x)

  def is_set(name: str, unset: str = 'None') -> bool:
    macro = configuration.macros.get(name)
    return macro is not None and set_here.get(name, repr(macro.value)) != unset

  # Pretraining takes from a recipe what is no part of the architecture.
  fields, larger = r'\w+', ''
  if any(
    x.endswith('.inherited.architecture') for x in configuration.functions
  ):
    fields = 'width|layers|heads|feed_forward'
    larger = 'TILE to True if it is to grow to that, or '
  elif not any(x.endswith('.fine_tune') for x in configuration.functions):
    return
  sizes = [x for x in files[1:] if x.split('/')[-2:-1] == ['models']]
  sizes += [x for x in lines if re.search(rf'EncoderConfig\.({fields})\b', x)]
  if sizes and is_set('INIT_FROM') and not is_set('TILE', 'False'):
    raise UserError(
      f'INIT_FROM brings its own model, so {sizes[0]} has no effect; leave it '
      f'out, or set {larger}INIT_FROM to None'
    )


def parse(
  files: Sequence[str], bindings: Sequence[str], folders: Sequence[str] = ()
) -> None:
  """Makes gin files and bindings gin's configuration; see `understand`."""
  files, bindings = understand(files, bindings, folders)
  gin.config._LOCATION_PREFIXES = ['', *folders, *command_line.search_paths()]
  gin.clear_config()
  try:
    gin.parse_config_files_and_bindings(files, bindings)
  except UserError:
    raise
  except (
    SyntaxError,
    ValueError,
    ImportError,
    NameError,
    OSError,
    AttributeError,
  ) as error:
    raise UserError(_explain(' '.join(str(error).split()))) from error
  _check_values(gin.config._CONFIG)


def _check_values(bound: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
  """Checks all values against annotations, and tells which macro to set.

  Args:
    bound: (scope, function) -> parameter -> value, as gin keeps it.
  """
  for (_, function), parameters in bound.items():
    given, macros_of = {}, {}
    wrapped = gin.config._REGISTRY[function].wrapped
    known = values.annotations(wrapped)
    names = [k for k, x in known.items() if typing.get_args(x)[:1] != (Any,)]
    if len(names) < len(known):  # gin takes any for **values
      for name in parameters:
        choose(dict.fromkeys(names), name, f'another name in {function}')
    for name, value in parameters.items():
      followed = []
      while getattr(value, 'selector', None) == 'gin.macro':
        macro = macros_of[name] = '/'.join(value.scopes)
        if macro in followed:
          raise UserError(
            f'the macro {macro} stands for itself; set it with '
            f'--gin.{macro}=VALUE'
          )
        followed.append(macro)
        value = bound[macro, 'gin.macro']['value']
      reference = gin.config.ConfigurableReference
      parts = gin.config._iterate_flattened_values(value)
      if not any(isinstance(part, reference) for part in parts):
        given[name] = value
      elif wrong := _misfit(value, known.get(name, Any)):
        expected, got = wrong
        setting = '.'.join([*function.split('.')[-2:], name])
        raise UserError(
          f'expected {values.describe(expected)}, got {got}; set '
          f'{macros_of.get(name, setting)}'
        )
    values.check(wrapped, given, macros_of)


def _misfit(value: Any, annotation: Any) -> tuple[Any, str] | None:
  """Returns what a reference should have given, and what it gives; or None.

  Args:
    value: has references in it.
    annotation: of the parameter.
  """
  origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
  if isinstance(value, dict | list | tuple):
    if origin not in (abc.Mapping, dict, abc.Sequence, list):
      return None
    items = value.values() if isinstance(value, dict) else value
    return next(filter(None, (_misfit(x, parts[-1]) for x in items)), None)
  if origin in (typing.Union, types.UnionType):
    found = [_misfit(value, part) for part in parts]
    return found[0] if all(found) else None
  reference = isinstance(value, gin.config.ConfigurableReference)
  if not reference or not inspect.isclass(annotation) or annotation is Any:
    return None
  made = value.configurable.wrapped
  protocol = getattr(annotation, '_is_protocol', False)
  if not value.evaluate:
    calls = protocol and '__call__' in vars(annotation)
    if calls or annotation in (abc.Callable, type, object):
      return None
    return annotation, f'the function {value} itself: write {value}()'
  if not inspect.isclass(made) or protocol or issubclass(made, annotation):
    return None
  return annotation, str(value)


@contextlib.contextmanager
def explained() -> Iterator[None]:
  """Turns what gin raises for parameters without a value into a UserError."""
  try:
    yield
  except TypeError as error:
    if not (found := _UNBOUND.search(str(error))):
      raise
    names = ', '.join(re.findall(r'\w+', found[1]))
    raise UserError(
      f'expected values for {names} of {found[2]}, got none; bind them in a '
      f'gin file, as {found[2]}.NAME = VALUE'
    ) from error


_UNBOUND = re.compile(
  r'caller for arguments: \[(.*?)\].*?configurable \'(\w+)\'', re.DOTALL
)
# Pattern of what gin says -> what to say instead.
_EXPLAINED = {
  r"^No (?:bindings|values?) .* '(\w+)/gin\.macro'": (
    'the macro {0} has no value; set it with --gin.{0}=VALUE'
  ),
  r"^(.*(?:No module named 'bertjax\.|import name '\w+' from 'bertjax).*)": (
    'gin: {0}; modules have moved since bertjax 0.1: give its recipe again'
  ),
}


def _explain(line: str) -> str:
  if found := re.search(r"No module named '(bertjax[\w.]*)\.(\w+)'", line):
    folder = os.path.join(
      os.path.dirname(values.__file__), *found[1].split('.')[1:]
    )
    known = [module.name for module in pkgutil.iter_modules([folder])]
    if near := did_you_mean(found[2], known, cutoff=0.8):
      return f'gin: {line}{near}'
  for pattern, message in _EXPLAINED.items():
    if found := re.search(pattern, line):
      return message.format(found[1])
  if found := re.match(r"No configurable matching '(.*?)'", line):
    bound = gin_bindings.parse(gin.config_str())
    known = [re.sub(r'^.*/|\.\w+$', '', name) for name in bound]
    line += did_you_mean(found[1], known)
  if found := re.match(r"Configurable '(.*?)' .* named '(.*?)'", line):
    # To gin several may have this name, or none. What it wraps is asked, not
    # its copy of a class, which takes *args and **kwargs.
    with contextlib.suppress(ValueError, KeyError):
      wrapped = gin.config._REGISTRY.get_match(found[1]).wrapped
      names = inspect.signature(wrapped).parameters
      near = did_you_mean(found[2], names, cutoff=0.4)
      line += near or f' It has {", ".join(names)}.'
  return f'gin: {line}'
