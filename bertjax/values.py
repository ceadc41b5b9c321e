"""Checks the values that enter a public callable against its annotations.

    >>> @checked
    ... def train(steps: Count, rate: Rate = 0.1) -> None: ...
    >>> train(steps=0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    bertjax.values.WrongValue: expected a whole number ... got 0; set ...

A function is decorated with `checked`; a dataclass calls `check_fields` in
`__post_init__`. Every item of a sequence is looked at and nothing is converted:
True is no number, '3' is no 3, a text is no list of texts, but a whole number
is a number. Only a `~` at the start of a path becomes the home folder, which a
shell leaves to us in `--gin.RUN_DIR=~/runs`. What only holds between two values
is checked where it is known.
`bertjax.main` checks a recipe's values in the same way before it runs anything.
"""

import dataclasses
import functools
import inspect
import math
import operator
import os
import reprlib
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, cast

import pydantic
from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate
from pydantic_core import core_schema

from bertjax.errors import UserError

Function = TypeVar('Function', bound=Callable[..., Any])

# A billion: nothing that bertjax counts comes near it.
Count = Annotated[int, Ge(1), Le(10**9)]
Natural = Annotated[int, Ge(0), Le(10**9)]
# The largest that are published have a million; `tokenizers`, which takes the
# memory for all at once, ends the process if that is not there.
VocabularySize = Annotated[int, Ge(1), Le(4 * 10**6)]
# numpy, TensorFlow and jax take it.
Seed = Annotated[int, Ge(0), Lt(2**63)]
Rate = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Gt(0), Lt(1)]
Positive = Annotated[float, Gt(0), Lt(math.inf)]
NotNegative = Annotated[float, Ge(0), Lt(math.inf)]
# Whoever types 1e4 means 1e-4.
LearningRate = Annotated[float, Gt(0), Le(10)]
Name = Annotated[str, MinLen(1)]
# A path of any file system; the text marks where ~ is the home folder.
_HOME = '~'
Place = Annotated[str, MinLen(1), _HOME]
Path = Annotated[
  str, MinLen(1), _HOME, Predicate(lambda x: '://' not in x and '\0' not in x)
]
Paths = Place | Sequence[Place]


class KeyOf(Predicate):
  """Says that a text is a key of a table, also of one that is added later."""

  def __init__(self, table: Mapping[str, Any]):
    super().__init__(table.__contains__)
    object.__setattr__(self, 'table', table)  # a Predicate is frozen

  @property
  def names(self) -> str:
    return ', '.join(sorted(vars(self)['table']))


_CONFIG = pydantic.ConfigDict(strict=True, arbitrary_types_allowed=True)
_NAMES: dict[Any, tuple[str, str]] = {  # of one, and of several
  int: ('a whole number', 'whole numbers'),
  float: ('a number', 'numbers'),
  bool: ('True or False', 'True or False'),
  str: ('a text', 'texts'),
  type(None): ('None', 'None'),
  Any: ('anything', 'anything'),
}
_LIMITS: dict[tuple[type, ...], str] = {
  (Ge, Le): 'from {0.ge:,} to {1.le:,}',
  (Ge, Lt): 'from {0.ge:,} to below {1.lt:,}',
  (Gt, Le): 'above {0.gt:,} and at most {1.le:,}',
  (Gt, Lt): 'above {0.gt:,} and below {1.lt:,}',
  # pydantic takes no lone surrogates, which stand for other bytes of a name.
  (MinLen,): 'in UTF-8 that is not empty',
  (KeyOf,): 'that is one of {0.names}',
  (MinLen, str): 'that is a path in UTF-8',
  (MinLen, str, Predicate): 'that is a path in UTF-8 on this machine',
}


class WrongValue(UserError):
  """A value that does not fit the annotation of its parameter.

  Attributes:
    parameter: its name.
    message: what was expected and what was got.
  """

  def __init__(self, parameter: str, message: str, setting: str):
    super().__init__(f'{message}; set {setting}')
    self.parameter, self.message = parameter, message


def checked(function: Function) -> Function:
  """Makes a function check the arguments that it is given.

  Raises:
    WrongValue: when it is called; `set MODULE.FUNCTION.PARAMETER`.
  """
  signature = inspect.signature(function)
  (rest,) = [
    x.name for x in signature.parameters.values() if x.kind is x.VAR_KEYWORD
  ] or ['']

  @functools.wraps(function)
  def call(*args: Any, **kwargs: Any) -> Any:
    bound = signature.bind(*args, **kwargs)
    given = bound.arguments
    check(function, given | given.get(rest, {}))
    for name in _paths(function) & given.keys():
      given[name] = _at_home(given[name])
    return function(*bound.args, **bound.kwargs)

  call.__signature__ = signature  # type: ignore[attr-defined]  # for gin
  return cast(Function, call)


def check_fields(instance: Any) -> None:
  """Checks the fields of a dataclass.

  Raises:
    WrongValue: `set CLASS.FIELD`.
  """
  names = [field.name for field in dataclasses.fields(instance)]
  check(type(instance), {name: getattr(instance, name) for name in names})


def check(
  function: Callable[..., Any],
  arguments: Mapping[str, Any],
  settings: Mapping[str, str] | None = None,
) -> None:
  """Checks arguments of a function or fields of a class.

  Args:
    function: has annotations.
    arguments: by name; names without an annotation are left out.
    settings: what to set instead of MODULE.FUNCTION.PARAMETER.

  Raises:
    WrongValue: the first that does not fit.
  """
  known = annotations(function)
  for name, value in arguments.items():
    if not fits(value, known.get(name, Any)):
      setting = (settings or {}).get(name) or f'{_name(function)}.{name}'
      expected, got = describe(known[name]), reprlib.repr(value)
      raise WrongValue(name, f'expected {expected}, got {got}', setting)


def fits(value: object, annotation: Any) -> bool:
  """Returns whether a value is what an annotation asks for.

  >>> fits([1, 2.5], list[float]), fits(True, int), fits('ab', Sequence[str])
  (True, False, False)
  """
  try:
    as_listed = list(value) if isinstance(value, range) else value
    _adapter(annotation).validate_python(as_listed)
  except pydantic.ValidationError:
    return False
  return True


@functools.cache
def annotations(function: Callable[..., Any]) -> dict[str, Any]:
  """Returns parameter or field -> annotation.

  `**values: Annotated[Any, other]` means parameters or fields of `other`, and
  `Annotated[Any, other, None]` those, or None instead.
  """
  while isinstance(function, functools.partial):
    function = function.func
  found: dict[str, Any]
  if dataclasses.is_dataclass(function):
    found = {field.name: field.type for field in dataclasses.fields(function)}
  else:
    called = function.__init__ if inspect.isclass(function) else function
    found = getattr(called, '__annotations__', {})
  # What is in quotes is a class that stands further down.
  found = {
    k: v for k, v in found.items() if k != 'return' and not isinstance(v, str)
  }
  for annotation in list(found.values()):
    is_annotated = typing.get_origin(annotation) is Annotated
    if is_annotated and typing.get_args(annotation)[0] is Any:
      other, *more = annotation.__metadata__
      theirs = annotations(other)
      if more:
        theirs = {name: theirs[name] | None for name in theirs}
      found = theirs | found
  return found


@functools.cache
def _paths(function: Callable[..., Any]) -> set[str]:
  """Returns the names of parameters that take paths."""

  def takes_paths(annotation: Any) -> bool:
    parts = typing.get_args(annotation)
    return _HOME in parts or any(map(takes_paths, parts))

  return {k for k, x in annotations(function).items() if takes_paths(x)}


def _at_home(value: Any) -> Any:
  if isinstance(value, list | tuple):
    return type(value)(map(os.path.expanduser, value))
  return os.path.expanduser(value) if isinstance(value, str) else value


@functools.cache
def _adapter(annotation: Any) -> pydantic.TypeAdapter[Any]:
  return pydantic.TypeAdapter(_checkable(annotation), config=_CONFIG)


def _checkable(annotation: Any) -> Any:
  """Returns an annotation that pydantic compares values with as we want.

  It looks into containers, but into no object, and takes a list for a
  tuple[X, ...], as both come from gin. What only a type checker can judge
  becomes Any.
  """
  origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is Annotated:
    return Annotated[_checkable(parts[0]), *parts[1:]]
  if origin in (typing.Union, types.UnionType):
    return functools.reduce(operator.or_, map(_checkable, parts))
  if origin is tuple and parts[1:] == (...,):
    origin, parts = abc.Sequence, parts[:1]
  if origin in (abc.Sequence, list, tuple, abc.Mapping, dict):
    return origin[tuple(map(_checkable, parts))]
  if origin is abc.Callable:
    return Callable[..., Any]
  if origin is Literal or annotation in _NAMES:
    return annotation
  # A protocol may be for type checkers alone.
  known = getattr(annotation, '_is_runtime_protocol', True)
  if inspect.isclass(annotation) and known:
    # Not InstanceOf, which makes a schema of the fields of a NamedTuple.
    schema = core_schema.is_instance_schema(annotation)
    return Annotated[Any, pydantic.GetPydanticSchema(lambda *_: schema)]
  return Any


def describe(annotation: Any) -> str:
  """Returns what an annotation asks for, in words.

  >>> describe(Rate | Sequence[bool] | None)
  'a number from 0 to below 1, a list of True or False, or None'
  """
  *first, last = _alternatives(annotation, several=False)
  return (
    f'{", ".join(first)}{"," * bool(first[1:])} or {last}' if first else last
  )


def _alternatives(annotation: Any, several: bool) -> list[str]:
  """Returns what one value may be, or of `several` values each."""
  origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
  if origin in (typing.Union, types.UnionType):
    return [words for x in parts for words in _alternatives(x, several)]
  if origin is Literal:
    return [repr(part) for part in parts]
  if origin is Annotated:
    limits = _LIMITS[tuple(map(type, parts[1:]))].format(*parts[1:])
    return [f'{words} {limits}' for words in _alternatives(parts[0], several)]
  if origin in (abc.Sequence, list, tuple):
    items = ' or '.join(_alternatives(parts[0], several=True))
    return [f'{"lists" if several else "a list"} of {items}']
  if origin in (abc.Mapping, dict):
    keys, items = (' or '.join(_alternatives(x, several=True)) for x in parts)
    return [f'{"dicts" if several else "a dict"} from {keys} to {items}']
  if origin is abc.Callable:
    return ['functions' if several else 'a function']
  if annotation in _NAMES:
    return [_NAMES[annotation][several]]
  return [getattr(annotation, '__name__', str(annotation))]


def _name(function: Callable[..., Any]) -> str:
  """Returns how gin names a function, without packages."""
  while isinstance(function, functools.partial):
    function = function.func
  if inspect.isclass(function):
    return function.__name__
  return f'{function.__module__.split(".")[-1]}.{function.__name__}'
