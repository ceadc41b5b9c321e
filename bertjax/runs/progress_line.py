"""Lines that tell what is going on, and how far long work has come.

    >>> with ProgressLine() as line:
    ...   line.show('step 1/2')
    ...   line.note('saved')
    ...   line.show('step 2/2')
    step 1/2
    saved
    step 2/2

On a terminal it is one line, rewritten by each `show`, with notes above it.
tqdm has no such form for a log: it writes carriage returns everywhere.
"""

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Self, TextIO

LONG = 3  # seconds of silence that a person takes for a fault


@contextlib.contextmanager
def wait(what: str) -> Iterator[None]:
  """Says on standard error what begins, and how long it took if that was long.

  compiling the step
  compiling the step: 7.3 s
  """
  began = time.monotonic()
  print(what, file=sys.stderr, flush=True)
  yield
  seconds = time.monotonic() - began
  if seconds > LONG:
    print(f'{what}: {seconds:.1f} s', file=sys.stderr, flush=True)


class ProgressLine:
  """One live line on a terminal, else a line for each `show`.

  Args:
    stream: None: standard output.
  """

  def __init__(self, stream: TextIO | None = None):
    self._stream = stream or sys.stdout
    self._is_terminal = self._stream.isatty()
    self._line = ''

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    if self._is_terminal and self._line:
      self._print('\n')

  def show(self, line: str) -> None:
    """Shows a line in place of the last one."""
    self._line = line
    if not self._is_terminal:
      self._print(line + '\n')
    elif line:
      width = shutil.get_terminal_size().columns - 1  # a full line would wrap
      self._print('\r\x1b[K' + line[:width])  # to the start, and erase it

  def note(self, text: str) -> None:
    """Prints a separate line above the live one."""
    if self._is_terminal:
      self._print('\r\x1b[K')
    self._print(text + '\n')
    if self._is_terminal:
      self.show(self._line)

  def _print(self, text: str) -> None:
    self._stream.write(text)
    self._stream.flush()
