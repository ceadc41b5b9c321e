"""What parameters take is read from source, without importing it."""

import sys
import typing

import pytest

from bertjax.launch import annotations
from bertjax.launch.annotations import OTHER


def kinds(*names, items=()):
  return annotations.Kinds(frozenset(names), frozenset(items))


@pytest.fixture
def module(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(str(tmp_path))
  annotations._body.cache_clear()

  def write(name, text):
    (tmp_path / f'{name}.py').write_text(text)

  yield write
  annotations._body.cache_clear()


@pytest.mark.parametrize(
  'annotation, expected',
  [
    ('int', kinds('int')),
    ('int | None', kinds('int', 'None')),
    ("'int | None'", kinds('int', 'None')),
    ('Optional[float]', kinds('float', 'None')),
    ('Union[str, bool]', kinds('str', 'bool')),
    ('str | Sequence[str] | None', kinds('str', 'None', items=['str'])),
    ('collections.abc.Sequence[float]', kinds(items=['float'])),
    ('tuple[int, ...]', kinds(items=['int'])),
    ('Sequence[str | Sequence[str]]', kinds(items=['str'])),
    ("Literal['a', 'b', 3]", kinds('str', 'int')),
    ("Annotated[int, 'of 1 or more']", kinds('int')),
    ('Count', kinds('int')),
    ('kinds_there.Paths', kinds('str', items=['str'])),
    ('Renamed', kinds('str', items=['str'])),
    ('Any', kinds(OTHER)),
    ('Callable[[int], str]', kinds(OTHER)),
    ('dict[str, int] | str', kinds(OTHER, 'str')),
    ('NotThere', kinds(OTHER)),
  ],
)
def test_annotations_are_followed(annotation, expected, module):
  module(
    'kinds_there',
    'raise RuntimeError\n'
    "Count = Annotated[int, 'x']\nPath = Annotated[str, 1]\n"
    'Paths = Path | Sequence[Path]\n',
  )
  module(
    'kinds_here',
    'import kinds_there\nfrom kinds_there import Count, Paths as Renamed\n'
    f'def f(a, *, x: {annotation}): ...\n'
    f'class D:\n  x: {annotation} = 3\n'
    f'class C:\n  def __init__(self, x: {annotation}): ...\n',
  )
  for name in ('f', 'D', 'C'):
    assert annotations.kinds(f'kinds_here.{name}.x') == expected
  assert annotations.kinds('kinds_here.f.a') == kinds(OTHER)
  assert 'kinds_here' not in sys.modules


def test_keywords_that_are_passed_on_are_those_that_they_name(module):
  module(
    'kinds_passed',
    'class Task:\n  epochs: float | None = 3\n'
    'def f(**values: Annotated[Any, Task]): ...\n'
    'def n(**values: Annotated[Any, Task, None]): ...\n'
    'def g(**values: Any): ...\n',
  )
  assert annotations.kinds('kinds_passed.f.epochs') == kinds('float', 'None')
  assert annotations.kinds('kinds_passed.n.epochs') == kinds('float', 'None')
  assert annotations.kinds('kinds_passed.f.other') == kinds(OTHER)
  assert annotations.kinds('kinds_passed.g.epochs') == kinds(OTHER)


def test_what_has_no_source_takes_anything():
  assert annotations.kinds('no_such.module.f.x') == kinds(OTHER)


def test_they_agree_with_those_that_python_evaluates():
  """With an independent source: typing, of what recipes bind most."""
  from bertjax.models.config import EncoderConfig

  def parts(hint):
    if typing.get_origin(hint) is typing.Literal:
      return {type(value).__name__ for value in typing.get_args(hint)}
    if not (inner := typing.get_args(hint)):
      return {hint.__name__.replace('NoneType', 'None')}
    return {name for one in inner for name in parts(one)}

  # Without the ranges of `Annotated`.
  for name, hint in typing.get_type_hints(EncoderConfig).items():
    expected = kinds(*parts(hint))
    found = annotations.kinds(f'bertjax.models.config.EncoderConfig.{name}')
    assert found == expected, name
