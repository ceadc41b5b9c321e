"""Signals end a process wherever it is, with one line and the right status."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from bertjax.launch import interruption

ROOT = pathlib.Path(interruption.__file__).parents[2]
# Where Python's own answer is swallowed, hidden, or too late.
PLACES = {
  'a loop that catches all': """
while True:
  try:
    time.sleep(60)
  except BaseException:
    pass
""",
  'C++ that does not return': """
lock = ctypes.create_string_buffer(64)
for _ in range(2):
  ctypes.CDLL(None).pthread_mutex_lock(lock)
""",
  'an import that hides standard error': """
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
time.sleep(60)
""",
}
START = """
import ctypes, os, sys, time
from bertjax.launch import interruption
interruption.end_at_once()
print('ready', flush=True)
"""


def start(code):
  return subprocess.Popen(
    # Python 3.12 warns of forks beside threads, in the main module alone.
    [sys.executable, '-W', 'ignore::DeprecationWarning', '-c', code],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('place', PLACES)
def test_a_signal_ends_the_process_wherever_it_is(place, number):
  process = start(START + PLACES[place])
  assert process.stdout.readline() == 'ready\n'
  time.sleep(0.1)
  process.send_signal(number)
  _, error = process.communicate(timeout=5)
  assert process.returncode == 128 + number
  (line,) = error.splitlines()
  assert line.startswith('bertjax: ') and 'same command' in line
  assert ('interrupted' in line) == (number == signal.SIGINT)


def test_a_handler_of_ones_own_takes_over():
  process = start(
    START
    + """
import signal
signal.signal(signal.SIGTERM, lambda *_: print('noted', flush=True))
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.5)
os._exit(7)
"""
  )
  output, error = process.communicate(timeout=20)
  assert (process.returncode, output, error) == (7, 'ready\nnoted\n', '')


def test_a_child_is_ended_by_the_signal_and_not_its_parent():
  process = start(
    START
    + """
child = os.fork()
if not child:
  interruption.leave_to_parent()
  print('child', flush=True)
  time.sleep(60)
time.sleep(0.5)
os.kill(child, 15)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
time.sleep(0.5)
os._exit(7)
"""
  )
  output, error = process.communicate(timeout=20)
  assert (process.returncode, output, error) == (7, 'ready\nchild\n-15\n', '')
