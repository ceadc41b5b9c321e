"""Meetings within one process: a thread for each member."""

import concurrent.futures
import socket
import threading
import time

import pytest

from bertjax.errors import UserError
from bertjax.parallel import rendezvous


@pytest.fixture
def address():
  with socket.create_server(('localhost', 0)) as server:
    return f'localhost:{server.getsockname()[1]}'


def all_of(count, function):
  """Returns what `function(index)` gives or raises, for each member."""
  with concurrent.futures.ThreadPoolExecutor(count) as pool:
    calls = [pool.submit(function, index) for index in range(count)]
  return [call.exception() or call.result() for call in calls]


def meet(address, count):
  """Returns the meetings, and (index, line, status) of each `end` called."""
  ends = []

  def come(index):
    meeting = rendezvous.meet(address, count, index, 20)

    def end(line, status):
      ends.append((index, line, status))
      die(meeting)

    meeting.watch(end)
    return meeting

  return all_of(count, come), ends


def die(meeting):
  """Closes the connections, as the kernel does, and notices nothing more."""
  meeting._ended.set()
  for peer in meeting._peers.values():
    peer._socket.shutdown(socket.SHUT_RDWR)


def wait_for(ends, count):
  deadline = time.monotonic() + 20
  while len(ends) < count and time.monotonic() < deadline:
    time.sleep(0.01)
  return sorted(ends)


@pytest.mark.parametrize(
  'text, parts',
  [
    ('10.0.0.1:1234', ('10.0.0.1', 1234)),
    ('host.name:80', ('host.name', 80)),
    ('[::1]:1234', ('::1', 1234)),
  ],
)
def test_addresses_have_a_host_and_a_port(text, parts):
  assert rendezvous.split_address(text) == parts


@pytest.mark.parametrize('text', ['host', 'host:', ':12', 'host:0', 'h:70000'])
def test_other_addresses_are_refused(text):
  with pytest.raises(UserError, match='--coordinator_address'):
    rendezvous.split_address(text)


def test_whoever_leaves_waits_for_the_others(address):
  meetings, ends = meet(address, 3)
  left = []

  def leave(index):
    time.sleep(0.2 * index)
    before = time.monotonic()
    meetings[index].leave()
    left.append(time.monotonic())
    return before

  before = all_of(3, leave)
  assert min(left) >= max(before)
  assert not ends


def test_a_process_that_fails_is_named_to_all_others(address):
  meetings, ends = meet(address, 3)
  all_of(1, lambda _: meetings[1].fail('no such file', 2))
  found = wait_for(ends, 2)
  assert [(index, status) for index, _, status in found] == [(0, 2), (2, 2)]
  for _, line, _ in found:
    assert line.startswith('process 1 of 3 (')
    assert line.endswith(') ended: no such file')


@pytest.mark.parametrize('dead', [0, 2])
def test_a_process_that_dies_is_named_to_all_others(address, dead):
  meetings, ends = meet(address, 3)
  die(meetings[dead])
  found = wait_for(ends, 2)
  assert len(found) == 2
  for _, line, status in found:
    assert line.startswith(f'process {dead} of 3 (') and 'has died' in line
    assert status == 1


def test_processes_that_fail_together_each_say_so_themselves(address):
  meetings, ends = meet(address, 3)
  all_of(3, lambda index: meetings[index].fail('loss is not finite', 1))
  assert not ends


def test_a_process_that_does_not_come_is_named_with_the_address(address):
  first, second = all_of(2, lambda index: rendezvous.meet(address, 3, index, 2))
  for error in (first, second):
    assert isinstance(error, UserError) and '\n' not in str(error)
    assert f'process 2 of 3 has not come to {address} in 2 seconds' in str(
      error
    )


def test_without_process_0_there_is_no_answer_at_the_address(address):
  with pytest.raises(UserError, match=f'process 0 of 2 .*{address}'):
    rendezvous.meet(address, 2, 1, 1)


def test_something_else_that_listens_there_is_not_process_0(address):
  with socket.create_server(rendezvous.split_address(address)):
    with pytest.raises(UserError, match='has not answered'):
      rendezvous.meet(address, 2, 1, 1)


def test_a_port_that_is_taken_is_refused(address):
  port = rendezvous.split_address(address)[1]
  with rendezvous._listener(port):
    with pytest.raises(UserError, match=f'cannot listen at port {port}'):
      rendezvous.meet(address, 2, 0, 1)


def test_a_stranger_is_not_counted(address):
  stranger_has_left = threading.Event()

  def come(index):
    if index == 1:  # with it all have come, and nobody listens any more
      stranger_has_left.wait(20)
    if index < 2:
      return rendezvous.meet(address, 2, index, 20)
    try:
      with connect(address) as connection:
        connection.sendall(b'GET / HTTP/1.1\r\n\r\n')
        return connection.recv(100)
    finally:
      stranger_has_left.set()

  first, second, answer = all_of(3, come)
  assert first.count == second.count == 2
  assert answer in (b'', None) or isinstance(answer, OSError)


def connect(address):
  for _ in range(1000):
    try:
      return socket.create_connection(rendezvous.split_address(address))
    except ConnectionRefusedError:
      time.sleep(0.01)
  raise TimeoutError(f'nobody listens at {address}')


@pytest.mark.parametrize(
  'flags, words',
  [
    ([(2, 0), (3, 1)], '--process_count=3 and process 0 with 2'),
    ([(3, 0), (3, 1), (3, 1)], 'two processes came .* --process_index=1'),
  ],
)
def test_flags_that_contradict_are_refused_by_all(address, flags, words):
  errors = all_of(len(flags), lambda i: rendezvous.meet(address, *flags[i], 20))
  for error in errors:
    assert isinstance(error, UserError)
  with pytest.raises(UserError, match=words):
    raise errors[0]
