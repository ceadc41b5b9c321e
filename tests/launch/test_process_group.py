"""Processes that run only jax, and one line at the end of each."""

import contextlib
import ipaddress
import itertools
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent import futures

import pytest

from bertjax.errors import UserError
from bertjax.launch import cluster, process_group
from tests import test_end_to_end

ROOT = pathlib.Path(process_group.__file__).parent.parent.parent
# Arguments: address, count, index, seconds. Two devices each.
START = """
import os, signal, sys, time
import jax
import numpy as np
from bertjax.errors import RunStopped, UserError
from bertjax.launch import cluster, process_group
from bertjax.parallel import processes
address, count, index, seconds = sys.argv[1], *map(int, sys.argv[2:])
def job():
  assert jax.process_count() == processes.count() == count
  assert processes.is_first() == (index == 0)
{body}
status = 0
try:
  process_group.run(job, cluster.find(address, count, index, seconds))
except (UserError, RunStopped) as error:
  print(f'bertjax: {{error}}', file=sys.stderr)
  status = error.status
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)
"""


def free_address():
  with socket.create_server(('localhost', 0)) as server:
    return f'localhost:{server.getsockname()[1]}'


def launch(body, places, seconds=60):
  """Starts a process for each (count, index)."""
  address = free_address()
  lines = body.strip('\n').split('\n')
  code = START.format(body='\n'.join('  ' + line for line in lines))
  changes = {
    'PYTHONPATH': f'{test_end_to_end.no_pickles()}{os.pathsep}{ROOT}',
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
    'TF_CPP_MIN_LOG_LEVEL': '2',
  }
  return [
    subprocess.Popen(
      [sys.executable, '-c', code, address, *map(str, (*place, seconds))],
      env=os.environ | changes,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for place in places
  ]


def finish(started):
  """Returns (status, output, error) of each."""
  outputs = [process.communicate(timeout=300) for process in started]
  return [
    (process.returncode, *texts)
    for process, texts in zip(started, outputs, strict=True)
  ]


def start(body, places=((2, 0), (2, 1)), seconds=60):
  return finish(launch(body, places, seconds))


def last_line(error):
  line = error.splitlines()[-1]
  assert line.startswith('bertjax: '), error
  return line


def assert_goes_on_later(ended):
  status, _, error = ended
  assert status == 1, error
  assert 'lost another one' in last_line(error)
  assert 'the same command on all machines goes on' in last_line(error)
  assert 'Traceback' not in error


# ----------------------------------------------------------------- they meet


def test_alone_there_is_no_child():
  ran_in = []
  for flags in ((), ('localhost:1', 1, 0), (None, 1, None)):
    process_group.run(lambda: ran_in.append(os.getpid()), cluster.find(*flags))
  assert ran_in == [os.getpid()] * 3


@pytest.mark.parametrize('index', [0, 1])
def test_a_process_that_never_comes_is_told_in_a_line(index):
  [(status, output, error)] = start('', [(2, index)], seconds=1)
  assert status == 1
  told = 'process 1 of 2: process 0 tells how the run goes\n'
  assert output == told * index
  (line,) = error.splitlines()
  assert f'process {index} of 2 did not meet the others at localhost:' in line
  assert '--process_count=2' in line


# (count, index) of the processes of a run.
CONTRADICTIONS = (
  [(2, 0)],  # 1 never comes
  [(2, 0), (3, 1)],
  [(3, 0), (2, 1)],
  [(2, 0), (3, 2)],
  [(3, 0), (3, 1), (3, 1)],
  [(2, 0), (2, 0)],
)


def at_once(function, cases):
  """Returns function(*case) of all cases, which mostly wait, beside each other.

  What one of them raises is raised.
  """
  with futures.ThreadPoolExecutor(len(cases)) as pool:
    return list(pool.map(lambda case: function(*case), cases))


@pytest.mark.slow
def test_flags_that_contradict_end_all_with_a_line():
  runs = at_once(lambda *places: start('', places, seconds=10), CONTRADICTIONS)
  for places, ended in zip(CONTRADICTIONS, runs, strict=True):
    for status, _, error in ended:
      assert status in (1, 2), (places, error)
      line = last_line(error)
      assert any(
        words in line
        for words in (
          'did not meet the others',
          'expected one --process_count on all processes, got 3 here',
          'cannot listen',
        )
      ), (places, error)


def test_process_0_listens_where_the_others_look_for_it(monkeypatch):
  address = free_address()
  port = address.split(':')[1]
  assert process_group._bind_address(address) == address
  # Not this machine's: documentation's, and nobody's.
  for host in ('198.51.100.1', 'machine.invalid'):
    place = process_group._bind_address(f'{host}:{port}')
    assert place == f'[::]:{port}'
  monkeypatch.setenv('JAX_COORDINATOR_BIND_ADDRESS', f'10.0.0.1:{port}')
  assert process_group._bind_address(address) is None


def test_a_machine_that_knows_itself_by_loopback_listens_to_others(monkeypatch):
  create_server = socket.create_server
  monkeypatch.setattr(
    socket,
    'create_server',
    lambda place, **options: create_server(('127.0.0.1', place[1]), **options),
  )
  port = free_address().split(':')[1]
  assert process_group._bind_address(f'machine:{port}') == f'[::]:{port}'


def test_a_port_that_is_taken_is_refused():
  with socket.create_server(('localhost', 0)) as server:
    address = f'localhost:{server.getsockname()[1]}'
    with pytest.raises(UserError, match=f'cannot listen at {address}'):
      process_group._bind_address(address)


# ---------------------------------------------------------- who listens where


def family(pid):
  """Returns a process and all below it."""
  children = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text()
  return [pid, *(y for x in children.split() for y in family(int(x)))]


def listening(pid):
  """Returns {(address, port)} on which a process and its children listen."""
  sockets = set()
  for each in family(pid):
    for descriptor in pathlib.Path(f'/proc/{each}/fd').iterdir():
      with contextlib.suppress(OSError):
        sockets.add(os.readlink(descriptor))
  found = set()
  for table, width in (('tcp', 4), ('tcp6', 16)):
    rows = pathlib.Path(f'/proc/net/{table}').read_text().splitlines()[1:]
    for _, local, _, state, *_, inode in (
      row.split()[:4] + row.split()[9:10] for row in rows
    ):
      if state == '0A' and f'socket:[{inode}]' in sockets:  # TCP_LISTEN
        number, port = local.split(':')
        # Words of 32 bits, each in the order of this machine.
        words = struct.unpack(f'>{width // 4}I', bytes.fromhex(number))
        packed = struct.pack(f'={width // 4}I', *words)
        address = ipaddress.ip_address(packed)
        found.add(
          (getattr(address, 'ipv4_mapped', None) or address, int(port, 16))
        )
  return found


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_two_processes_open_three_ports_and_strangers_end_nothing(tmp_path):
  started = launch(
    f"""
import pathlib
folder = pathlib.Path({str(tmp_path)!r})
processes.gather(0)
(folder / f'met_{{index}}').touch()
while not all(processes.gather((folder / 'go').exists())):
  pass
""",
    [(2, 0), (2, 1)],
  )
  while len([*tmp_path.iterdir()]) < 2:
    assert all(process.poll() is None for process in started)
    time.sleep(0.1)
  coordinator = int(started[0].args[3].rpartition(':')[2])
  ports = [listening(process.pid) for process in started]
  # jax's coordinator, as narrow as its address; and Gloo in each process, at
  # the machine's own name, which jax gives no choice of.
  loopback = [{(a, p) for a, p in some if p == coordinator} for some in ports]
  assert [[a.is_loopback for a, _ in some] for some in loopback] == [[True], []]
  gloo = [some - own for some, own in zip(ports, loopback, strict=True)]
  own_name = {
    ipaddress.ip_address(place[0].split('%')[0])
    for *_, place in socket.getaddrinfo(socket.gethostname(), None)
  }
  for some in gloo:
    assert len(some) == 1 and {address for address, _ in some} <= own_name
  with contextlib.ExitStack() as strangers:
    for address, port in ports[0] | ports[1]:
      for said in (b'', b'GET / HTTP/1.1\r\n\r\n', os.urandom(100_000), b'\0'):
        stranger = strangers.enter_context(
          socket.create_connection((str(address), port))
        )
        stranger.settimeout(1)
        with contextlib.suppress(OSError):  # it may be turned away
          stranger.sendall(said)
    time.sleep(2)  # they stay
    (tmp_path / 'go').touch()
    for status, _, error in finish(started):
      assert (status, error) == (0, '')


# ------------------------------------------------------------------ they end


@pytest.mark.parametrize('dead', [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_process_that_is_killed_ends_the_others(dead):
  ended = start(f"""
processes.gather(0)
if index == {dead}:
  os.kill(os.getppid(), signal.SIGKILL)
while True:
  processes.gather(index)
""")
  assert ended[dead][0] == -signal.SIGKILL
  assert_goes_on_later(ended[1 - dead])


@pytest.mark.slow
def test_a_process_that_is_gone_or_hangs_ends_the_others_in_a_minute():
  at_once(
    ends_the_other_in_a_minute,
    list(
      itertools.product(
        (signal.SIGKILL, signal.SIGSTOP),
        (0, 1),
        ('processes.gather(index)', 'time.sleep(1)'),
      )
    ),
  )


def ends_the_other_in_a_minute(number, dead, work):
  started = launch(
    f"""
processes.gather(0)
if index == {dead}:
  print(os.getpid(), file=sys.stderr, flush=True)
  os.kill(os.getpid(), {number.value})
while True:
  {work}
""",
    [(2, 0), (2, 1)],
  )
  pid = int(started[dead].stderr.readline())
  began = time.monotonic()
  [other] = finish([started[1 - dead]])
  assert time.monotonic() - began < 60
  assert_goes_on_later(other)
  if number == signal.SIGSTOP:
    os.kill(pid, signal.SIGKILL)
  # Not `finish`: what `readline` has read ahead is lost to `communicate`.
  with started[dead] as process:
    error = process.stderr.read()
  assert process.returncode == 128 + signal.SIGKILL
  assert 'was ended by SIGKILL' in last_line(error)


@pytest.mark.slow
def test_a_signal_reaches_the_job():
  first, second = start("""
processes.gather(0)
if index == 1:
  os.kill(os.getppid(), signal.SIGTERM)
while True:
  processes.gather(index)
""")
  assert second[0] == 128 + signal.SIGTERM
  assert 'was ended by SIGTERM' in last_line(second[2])
  assert_goes_on_later(first)


@pytest.mark.slow
@pytest.mark.parametrize('by', [0, 1])
def test_a_mistake_that_one_finds_ends_the_others(by):
  ended = start(f"""
if index == {by}:
  raise UserError('expected a file, got none; set TEXT_FILES')
processes.wait('for ever')
""")
  status, _, error = ended[by]
  assert status == 2
  assert error == 'bertjax: expected a file, got none; set TEXT_FILES\n'
  assert_goes_on_later(ended[1 - by])


@pytest.mark.slow
def test_a_mistake_that_all_find_is_said_by_all():
  for status, _, error in start("""
time.sleep(2 * index)
raise UserError('expected a file, got none; set TEXT_FILES')
"""):
    assert status == 2
    assert error == 'bertjax: expected a file, got none; set TEXT_FILES\n'


@pytest.mark.slow
def test_a_defect_keeps_its_traceback_and_has_a_last_line():
  first, second = start("""
if index == 1:
  1 / 0
processes.wait('for ever')
""")
  assert second[0] == 1 and 'ZeroDivisionError' in second[2]
  assert 'process 1 of 2 ended with the error above' in last_line(second[2])
  assert_goes_on_later(first)


@pytest.mark.slow
def test_a_process_that_is_done_waits_for_the_others():
  for status, _, error in start('time.sleep(40 * (1 - index))'):
    assert status == 0 and error == ''
