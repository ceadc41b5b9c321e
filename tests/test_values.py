import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import optax
import pytest

from bertjax import values
from bertjax.errors import UserError


class Named(Protocol):
  name: str


ACCEPTED = [
  (int, [0, 10**30]),
  (float, [0, 1.5, np.float64(2), math.inf]),
  (bool, [True]),
  (str, ['']),
  (values.Count, [1]),
  (values.Rate, [0, 0.5]),
  (values.Seed, [0, 2**63 - 1]),
  (values.Positive, [1e-9]),
  (values.Paths, ['a', ['a', 'b'], ('a',)]),
  (tuple[str, ...], [(), ['a'], ('a', 'b')]),
  (Sequence[int], [[], (1, 2)]),
  (int | Sequence[int] | None, [None, 3, [1]]),
  (Mapping[str, float], [{}, {'a': 1}]),
  (Literal['best', 'last'], ['best']),
  (Callable[..., int], [len, functools.partial(len)]),
  (np.ndarray, [np.zeros(1)]),
  (optax.GradientTransformation, [optax.identity()]),
  (Named, [object()]),
  (Any, [object()]),
]
REFUSED = [
  (int, [True, 1.0, '1', None], 'a whole number'),
  (float, [True, '1', None], 'a number'),
  (bool, [0, 'yes', None], 'True or False'),
  (str, [5, None, b'a'], 'a text'),
  (
    values.Count,
    [0, -1, 2.5, True, 10**10],
    'a whole number from 1 to 1,000,000,000, got',
  ),
  (values.Seed, [-1, 2**63], 'a whole number from 0 to below 9,2'),
  (values.Rate, [-0.1, 1, math.nan], 'a number from 0 to below 1, got'),
  (values.Positive, [0, math.inf, math.nan], 'a number above 0'),
  (
    values.Paths,
    ['', 5, [5], ['a', '']],
    'a text that is a path in UTF-8 or a list of texts that is a path in UTF-8',
  ),
  (values.Place, ['', 'caf\udce9'], 'a text that is a path in UTF-8, got'),
  (
    values.Path,
    ['', 'caf\udce9', 'gs://bucket/run', b'a'],
    'a text that is a path in UTF-8 on this machine, got',
  ),
  (values.Name, ['', 'caf\udce9'], 'a text in UTF-8 that is not empty, got'),
  (tuple[str, ...], ['ab', [1], 5], 'a list of texts'),
  (Sequence[int], [[0, 1.5], [True], '12', 3], 'a list of whole numbers'),
  (int | None, ['x'], 'a whole number or None'),
  (
    Mapping[str, float],
    [{'a': 'b'}, {1: 1}, []],
    'a dict from texts to numbers',
  ),
  (Literal['best', 'last'], ['worst', 1], "'best' or 'last'"),
  (Callable[..., int], [5, 'len'], 'a function'),
  (np.ndarray, [[1]], 'ndarray'),
  (optax.GradientTransformation, [3], 'GradientTransformation'),
]


def takes(annotation):
  def function(one):
    return one

  function.__annotations__ = {'one': annotation}
  return values.checked(function)


@pytest.mark.parametrize(
  'annotation, given',
  ACCEPTED,
  ids=[str(annotation) for annotation, _ in ACCEPTED],
)
def test_what_fits_passes_as_it_is(annotation, given):
  for value in given:
    found = takes(annotation)(value)
    assert found is value or (type(found) is type(value) and found == value)


@pytest.mark.parametrize(
  'annotation, given, expected', REFUSED, ids=[words for *_, words in REFUSED]
)
def test_what_does_not_fit_is_refused_in_words(annotation, given, expected):
  for value in given:
    with pytest.raises(UserError) as caught:
      takes(annotation)(value)
    message = str(caught.value)
    assert message.startswith(f'expected {expected}'), message
    assert 'got ' in message
    assert message.endswith('; set test_values.function.one')


@dataclasses.dataclass(frozen=True)
class Size:
  width: values.Count
  name: str | None = None

  def __post_init__(self):
    values.check_fields(self)


@pytest.mark.parametrize(
  'annotation, given, expected',
  [
    (values.Path, '~/runs/x', '/home/ada/runs/x'),
    (values.Path | None, '~', '/home/ada'),
    (values.Path | None, None, None),
    (values.Place, 'gs://bucket/~/x', 'gs://bucket/~/x'),
    (values.Paths, ['~/a', 'b/~'], ['/home/ada/a', 'b/~']),
    (values.Paths | Size, ('~/a',), ('/home/ada/a',)),
    (values.Name, '~/a column', '~/a column'),
    (str | None, '~/a text', '~/a text'),
  ],
)
def test_a_path_begins_at_home(monkeypatch, annotation, given, expected):
  monkeypatch.setenv('HOME', '/home/ada')
  assert takes(annotation)(given) == expected


def test_every_item_of_a_long_list_is_looked_at():
  items = [1] * 10_000
  items[7_777] = 'x'
  with pytest.raises(UserError, match='a list of whole numbers') as caught:
    takes(Sequence[int])(items)
  assert len(str(caught.value)) < 200


def test_fields_are_checked_and_named_after_their_class():
  assert dataclasses.replace(Size(3), name='x').width == 3
  with pytest.raises(UserError, match="got '3'; set Size.width$"):
    Size('3')
  with pytest.raises(UserError, match='set Size.name$'):
    dataclasses.replace(Size(3), name=1)


def test_a_checked_function_looks_as_before():
  def plain(a: int, *, b: str = 'x', **more: Any) -> int:
    """Says."""
    return a

  wrapped = values.checked(plain)
  assert inspect.signature(wrapped) == inspect.signature(plain)
  assert inspect.getfullargspec(wrapped) == inspect.getfullargspec(plain)
  assert (wrapped.__doc__, wrapped.__name__) == ('Says.', 'plain')
  assert wrapped(1, b='y', c=3) == 1
  with pytest.raises(TypeError, match='missing a required argument'):
    wrapped()


def test_a_method_and_a_partial_are_checked():
  class Thing:
    @values.checked
    def double(self, times: values.Count) -> int:
      return 2 * times

  assert Thing().double(2) == 4
  with pytest.raises(UserError, match='set test_values.double.times'):
    Thing().double(0)
  partial = functools.partial(Size, width=2)
  with pytest.raises(UserError, match='set Size.name'):
    values.check(partial, {'name': 4})


def test_a_setting_replaces_the_name():
  with pytest.raises(UserError, match='got 0; set WIDTH$') as caught:
    values.check(Size, {'width': 0}, {'width': 'WIDTH'})
  assert caught.value.parameter == 'width'
