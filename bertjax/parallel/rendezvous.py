"""The processes of a run meet, and each learns at once how another one ends.

    meeting = rendezvous.meet('10.0.0.1:1234', count=2, index=0, seconds=300)
    meeting.watch(end=lambda line, status: ...)
    meeting.leave()                  # returns when all of them are there

Process 0 listens at the address until all have come, and then leaves the port
to jax's own coordinator. The connections stay. The kernel closes those of a
process that dies, whatever it dies of, so the others know within milliseconds,
and within 30 seconds where a whole machine has gone; jax alone takes 100
seconds, and ends a process with a page of C++. Messages are lines of JSON.
Source: ours.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable

from bertjax.errors import UserError

# A machine that is gone: probed after 10 s of silence, every 5 s, 4 times.
_KEEPALIVE = (
  (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
  (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
  (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
  (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
_LONGEST_MESSAGE = 1 << 16
_GREETING = 'bertjax'


def split_address(address: str) -> tuple[str, int]:
  """'10.0.0.1:1234' to ('10.0.0.1', 1234), '[::1]:1234' to ('::1', 1234)."""
  host, _, port = address.rpartition(':')
  if not host or not port.isdecimal() or not 0 < int(port) < 65536:
    raise UserError(
      f'expected HOST:PORT of process 0, got {address!r}; set '
      '--coordinator_address'
    )
  return host.strip('[]'), int(port)


def meet(address: str, count: int, index: int, seconds: float) -> 'Meeting':
  """Waits until all processes have come.

  Args:
    address: HOST:PORT at which process 0 can be reached by the others.
    count: how many there are.
    index: which of them this is.
    seconds: how long to wait.

  Raises:
    UserError: one has not come in time, or came with other flags.
  """
  deadline = time.monotonic() + seconds
  gather = _receive_all if index == 0 else _join
  return gather(address, count, index, seconds, deadline)


class Meeting:
  """The connections of this process: to all others from 0, else to 0 alone.

  Attributes:
    count: of the processes.
    index: of this one.
  """

  def __init__(self, count: int, index: int, peers: dict[int, 'Peer']):
    self.count, self.index = count, index
    self._peers = peers
    self._failing = threading.Event()  # this process, by itself
    self._ended = threading.Event()  # by the end of another one
    self._once = threading.Lock()

  def watch(self, end: Callable[[str, int], None]) -> None:
    """Has `end` called where another process dies or fails.

    Args:
      end: given one line that says which and why, and an exit status; is to
        end the process. Called at most once, in a thread, and not where this
        process fails as well within 3 seconds: it then has its own line.
    """
    self._end = end
    for peer in self._peers.values():
      threading.Thread(target=self._listen, args=(peer,), daemon=True).start()

  def leave(self) -> None:
    """Ends in order: waits until all the others have come here, too."""
    if self.index:
      self._tell({'done': True})
    for peer in self._peers.values():
      peer.gone.wait()
    self._tell({'done': True})

  def fail(self, why: str, status: int) -> None:
    """Tells the others why this process ends, and lets them end first.

    Args:
      why: one line.
      status: the exit status of all.
    """
    self._failing.set()
    name = _name(self.index, self.count, socket.gethostname())
    self._tell({'failed': f'{name} ended: {why}', 'status': status})
    patience = time.monotonic() + 10
    for peer in self._peers.values():
      peer.gone.wait(max(0, patience - time.monotonic()))

  def await_end(self, seconds: float) -> None:
    """Returns after `seconds`, unless another process is known to have ended.

    Its end breaks what this one was doing, and is a better explanation than
    the error that comes of it.
    """
    if self._ended.wait(seconds):
      threading.Event().wait(60)  # `end` is being called

  def _tell(self, message: dict, but: 'Peer | None' = None) -> None:
    for peer in self._peers.values():
      if peer is not but:
        peer.send(message)

  def _listen(self, peer: 'Peer') -> None:
    """Reads what a process sends, to its end."""
    message = {
      'failed': f'{peer.name} has died; the same command on all '
      'machines goes on from the last checkpoint',
      'status': 1,
    }
    while (received := peer.receive()) is not None:
      if 'done' in received:
        peer.gone.set()
      elif 'failed' in received:
        self._failing.wait(3)
        message = received
        break
    if not peer.gone.is_set():
      self._end_with(message, peer)
      peer.gone.set()

  def _end_with(self, message: dict, peer: 'Peer') -> None:
    with self._once:
      if self._failing.is_set() or self._ended.is_set():
        return
      self._ended.set()
    self._tell(message, but=peer)
    for other in self._peers.values():  # of 0, whose end would confuse them
      if other is not peer:
        other.gone.wait(5)
    self._end(message['failed'], message['status'])


class Peer:
  """One connection to another process.

  Attributes:
    name: which one, and where.
    gone: set when nothing more is expected of it.
  """

  def __init__(self, connection: socket.socket):
    self._socket, self._file = connection, connection.makefile('rb')
    self._lock = threading.Lock()
    self.name = ''
    self.gone = threading.Event()
    for option in _KEEPALIVE:
      connection.setsockopt(*option)

  def settimeout(self, seconds: float | None) -> None:
    self._socket.settimeout(seconds)

  def send(self, message: dict) -> None:
    """Sends a message, unless the other side is gone."""
    with self._lock, contextlib.suppress(OSError):
      self._socket.sendall(json.dumps(message).encode() + b'\n')

  def receive(self) -> dict | None:
    """Returns the next message; None at the end, or where it is none."""
    try:
      message = json.loads(self._file.readline(_LONGEST_MESSAGE))
      return message if isinstance(message, dict) else None
    except (OSError, ValueError):
      return None

  def close(self) -> None:
    self._socket.close()
    self._file.close()


def _receive_all(address, count, index, seconds, deadline) -> Meeting:
  host, port = split_address(address)
  peers = {}
  try:
    listener = _listener(port)
  except OSError as error:
    raise UserError(
      f'process 0 cannot listen at port {port} ({error.strerror}); set '
      '--coordinator_address to another port, on all processes'
    ) from error
  with listener:
    while len(peers) < count - 1:
      listener.settimeout(max(0.01, deadline - time.monotonic()))
      try:
        peer = Peer(listener.accept()[0])
      except TimeoutError:
        missing = [str(i) for i in range(1, count) if i not in peers]
        text = (
          f'process {", ".join(missing)} of {count} has not come to '
          f'{address} in {seconds:g} seconds; start the same command there '
          f'with --process_index={missing[0]}, or set --process_count'
        )
        _refuse(peers.values(), text)
        raise UserError(text) from None
      _welcome(peer, peers, count, address)
  for peer in peers.values():
    peer.send({'all': True})
    peer.settimeout(None)
  return Meeting(count, index, peers)


def _welcome(peer: Peer, peers: dict[int, Peer], count, address) -> None:
  """Adds a process that has come; a stranger is sent away."""
  peer.settimeout(5)
  hello = peer.receive()
  if not hello or hello.get('greeting') != _GREETING:
    peer.close()
    return
  other = hello['index']
  text = None
  if hello['count'] != count:
    text = (
      f'process {other} was started with --process_count='
      f'{hello["count"]} and process 0 with {count}; set one number'
    )
  elif other in peers or other == 0:
    text = (
      f'two processes came to {address} with --process_index={other}; '
      f'set a number of its own for each of the {count}'
    )
  if text:
    _refuse([peer, *peers.values()], text)
    raise UserError(text)
  peer.name = _name(other, count, hello['host'])
  peers[other] = peer
  peer.send({'welcome': True})


def _refuse(peers, text: str) -> None:
  for peer in peers:
    peer.send({'refused': text})


def _join(address, count, index, seconds, deadline) -> Meeting:
  place = split_address(address)
  answer = None
  while answer is None:
    left = deadline - time.monotonic()
    try:
      if left <= 0:
        raise TimeoutError
      peer = Peer(socket.create_connection(place, timeout=left))
      peer.send(
        {
          'greeting': _GREETING,
          'index': index,
          'count': count,
          'host': socket.gethostname(),
        }
      )
      answer = peer.receive()
      if answer is None:  # not process 0, or one that has just died
        peer.close()
        time.sleep(0.5)
      elif 'welcome' in answer:  # from here on process 0 watches the time
        peer.settimeout(None)
        answer = peer.receive() or {
          'refused': f'process 0 of {count} has died before all had come'
        }
    except TimeoutError:
      raise UserError(
        f'process 0 of {count} has not answered process {index} at {address} '
        f'in {seconds:g} seconds; start the same command there with '
        '--process_index=0, or set --coordinator_address'
      ) from None
    except OSError:  # nobody listens yet, or the name is not known yet
      time.sleep(0.5)
  if 'refused' in answer:
    raise UserError(answer['refused'])
  peer.name = _name(0, count, place[0])
  return Meeting(count, index, {0: peer})


def _name(index: int, count: int, host: str) -> str:
  return f'process {index} of {count} ({host})'


def _listener(port: int) -> socket.socket:
  if socket.has_dualstack_ipv6():
    return socket.create_server(
      ('', port), family=socket.AF_INET6, dualstack_ipv6=True
    )
  return socket.create_server(('', port))
