"""A run of a sweep, as a process that ends with the sweep.

    python -S child.py FOLDER PARENT COMMAND...

Becomes COMMAND. On Linux it gets SIGTERM when PARENT, the sweep, dies in
whatever way, and so saves its state. It holds a lock in FOLDER for as long as
it lives: a sweep that is started again waits until it has ended.
"""

import ctypes
import fcntl
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(folder: str, parent: str, *command: str) -> None:
  if sys.platform == 'linux':
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it was gone already
      sys.exit('the sweep was ended')
  lock = os.open(os.path.join(folder, '.running'), os.O_RDWR | os.O_CREAT)
  fcntl.flock(lock, fcntl.LOCK_EX)
  os.set_inheritable(lock, True)
  try:
    os.execvp(command[0], command)
  except OSError as error:
    sys.exit(f'{type(error).__name__}: {error.strerror}: {command[0]}')


if __name__ == '__main__':
  main(*sys.argv[1:])
