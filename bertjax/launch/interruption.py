"""Ctrl-C and SIGTERM end the process at once, with one line.

    interruption.end_at_once()  # the first thing that a process does

Python's own answer to Ctrl-C is an exception wherever the process just is. Some
imports lose it, others print it, and it waits for C++ that prepares text or
compiles for minutes. There is nothing to save by then: what has its name is
whole, as after any kill. From its first step on, a training loop takes both
signals for itself, see `training.signals`.
"""

import os
import signal
import threading
from types import FrameType

_SAID = {signal.SIGINT: 'interrupted', signal.SIGTERM: 'ended by SIGTERM'}


def end_at_once() -> None:
  """Ends this process with status 128 + n at signal n, from now on."""
  screen = os.dup(2)  # `quiet_tensorflow` hides standard error
  once = threading.Lock()

  def end(number: int, frame: FrameType | None) -> None:
    del frame
    if once.acquire(blocking=False):
      said = _SAID[signal.Signals(number)]
      begin = '\n' if os.isatty(screen) else ''  # a progress line, or ^C
      line = f'{begin}bertjax: {said}; the same command goes on or starts anew'
      os.write(screen, f'{line}\n'.encode())
      os._exit(128 + number)

  def watch() -> None:
    # Python's handlers wait for the main thread to return from C++.
    while True:
      [number] = os.read(read, 1)
      if signal.getsignal(number) is end:
        end(number, None)

  read, write = os.pipe()
  os.set_blocking(write, False)
  signal.set_wakeup_fd(write, warn_on_full_buffer=False)
  for number in _SAID:
    signal.signal(number, end)
  threading.Thread(target=watch, daemon=True).start()


def leave_to_parent() -> None:
  """Lets both signals end this process, whose parent says the line."""
  signal.set_wakeup_fd(-1)
  for number in _SAID:
    signal.signal(number, signal.SIG_DFL)
