"""The errors that end a run with one line instead of a traceback.

    raise UserError('width 768 is not a multiple of heads 11; '
                    'set EncoderConfig.heads')

`bertjax.main` prints the message on standard error and exits with the error's
status. Any other exception is a bug in bertjax and keeps its traceback.
"""


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
