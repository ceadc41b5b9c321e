"""The errors that end a run with one line instead of a traceback.

    raise UserError('width 768 is not a multiple of heads 11; '
                    'set EncoderConfig.heads')

`bertjax.main` prints the message on standard error and exits with the error's
status. Any other exception is a bug in bertjax and keeps its traceback.
"""

import difflib
from collections.abc import Mapping
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
    UserError: no such entry; the message lists the names, the nearest one and
      the setting.
  """
  if name in table:
    return table[name]
  near = difflib.get_close_matches(str(name), table, n=1)
  hint = f' (did you mean {near[0]!r}?)' if near else ''
  raise UserError(
    f'expected one of {", ".join(sorted(table))}, got '
    f'{name!r}{hint}; set {setting}'
  )
