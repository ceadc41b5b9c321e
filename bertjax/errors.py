"""The errors that end a run with one line instead of a traceback.

    raise UserError('width 768 is not a multiple of heads 11; '
                    'set EncoderConfig.heads')

`bertjax.main` prints the message on standard error and exits with the error's
status. Any other exception is a bug in bertjax and keeps its traceback.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Entry = TypeVar('Entry')


class _OneLine(Exception):
  def _render_traceback_(self) -> list[str]:
    """Returns what IPython shows instead of a traceback: the message."""
    return [f'bertjax: {self}']


class UserError(_OneLine, ValueError):
  """Bad input; the message says what was expected, what was got and the fix."""

  status = 2


class RunStopped(_OneLine, RuntimeError):
  """A run that ended early; the message says where and how to go on."""

  def __init__(self, message: str, status: int):
    super().__init__(message)
    self.status = status


def choose(table: Mapping[str, Entry], name: str, setting: str) -> Entry:
  """Returns table[name].

  Args:
    table: the choices.
    name: one of its keys.
    setting: the binding that holds `name`, for the message.

  Raises:
    UserError: no such entry; the message lists the names, unless there are many
      and one is near, the nearest one and the setting.
  """
  if name in table:
    return table[name]
  names, near = ', '.join(sorted(table)), did_you_mean(name, table)
  if near and len(names) > 300:
    names = f'{len(table)} names'
  raise UserError(f'expected one of {names}, got {name!r}{near}; set {setting}')


def expect(holds: object, what: str, got: object, setting: str) -> None:
  """Raises UserError unless `holds`.

  Args:
    what: was expected.
    got: instead; an empty list is 'none' in the message.
    setting: what the user can set.
  """
  if not holds:
    shown = 'none' if isinstance(got, list) and not got else repr(got)
    raise UserError(f'expected {what}, got {shown}; set {setting}')


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
  """Returns what follows a wrong name in a message, '' if no name is near.

      >>> did_you_mean('lerned', ['learned', 'rotary'])
      " (did you mean 'learned'?)"

  Args:
    name: the wrong one.
    names: the right ones.
    cutoff: how similar a name must be, from 0 to 1, see difflib.
  """
  near = difflib.get_close_matches(str(name), list(names), n=1, cutoff=cutoff)
  return f' (did you mean {near[0]!r}?)' if near else ''
