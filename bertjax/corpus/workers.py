"""Applies functions to batches of Arrow, in order, by several processes.

    with workers.Pool(2) as pool:
      make = 'bertjax.corpus.kept_text:counter'
      for counted in pool.map(make, {'cased': False, 'threshold': 0}, batches):
        ...

`counter(cased=False, threshold=0)` is called once in each process, and what it
returns maps a `pyarrow.RecordBatch` to another one. Between the processes go
JSON and Arrow, through pipes; so nothing is unpickled, no port is opened, a
script needs no `if __name__ == '__main__'`, and a process ends with its parent.
(The module multiprocessing offers neither: it pickles, imports the script
again, or forks, which JAX's threads do not survive.)
"""

import collections
import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from typing import Any

import pyarrow

from bertjax import without_pandas
from bertjax.errors import RunStopped

Function = Callable[[pyarrow.RecordBatch], pyarrow.RecordBatch]
_AHEAD = 2  # batches that wait for each process
_MOST = 4  # results that wait, for each batch that another process has
# Imports what each of them needs in the end, while others read the text.
_START = 'from bertjax.corpus import kept_text, workers; workers.serve()'


def available() -> int:
  """Returns how many cores this process may use."""
  if hasattr(os, 'sched_getaffinity'):  # not on macOS
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


class Pool:
  """This process and others, which start at once and end with the context."""

  def __init__(self, processes: int):
    """Takes how many processes there are, this one included."""
    self._count = processes - 1
    self._stack = contextlib.ExitStack()
    self._others: list[_Process] = []
    self._is_mapping = False

  def __enter__(self) -> 'Pool':
    with contextlib.ExitStack() as stack:
      for _ in range(self._count):
        self._others.append(stack.enter_context(_Process()))
      if self._count:
        self._executor = futures.ThreadPoolExecutor(self._count)
        stack.enter_context(self._executor)
      self._stack = stack.pop_all()
    return self

  def __exit__(self, *_: object) -> None:
    self._stack.close()

  def map(
    self,
    make: str,
    arguments: Mapping[str, Any],
    batches: Iterable[pyarrow.RecordBatch],
  ) -> Iterator[pyarrow.RecordBatch]:
    """Yields results in the order of the batches.

    One map at a time, and no other after one that was not read to its end.

    Args:
      make: 'module:function', which returns the function for batches.
      arguments: of `make`, as JSON can hold them.
      batches: of one schema.

    Raises:
      RunStopped: a process ended.
    """
    own = _find(make)(**arguments)  # refuses arguments, before others do
    assert not self._is_mapping
    self._is_mapping = True
    idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
    for process in self._others:
      process.begin(make, arguments)
      idle.put(process)

    def call(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
      process = idle.get()
      try:
        return process.call(batch)
      finally:
        idle.put(process)

    pending: collections.deque[futures.Future[Any]] = collections.deque()
    sent: collections.deque[futures.Future[Any]] = collections.deque()
    for batch in batches:
      while sent and sent[0].done():
        sent.popleft()
      if len(sent) < _AHEAD * self._count:
        sent.append(self._executor.submit(call, batch))
        pending.append(sent[-1])
      else:  # this process would wait
        pending.append(futures.Future())
        pending[-1].set_result(own(batch))
      # Those of this process wait for earlier ones of others, but not for ever.
      while pending and (pending[0].done() or len(pending) > _MOST * len(sent)):
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()
    for process in self._others:
      process.end()
    self._is_mapping = False


class _Process:
  """A process that answers each batch with one."""

  def __init__(self) -> None:
    try:
      self._popen = subprocess.Popen(
        [sys.executable, '-c', _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        start_new_session=True,  # Ctrl-C ends the parent, and that ends it
      )
    except OSError as error:
      raise RunStopped(
        f'no process can be started to prepare the corpus: {error.strerror}; '
        'start again with fewer cores: taskset -c 0',
        status=1,
      ) from error
    assert self._popen.stdin and self._popen.stdout
    self._stdin, self._stdout = self._popen.stdin, self._popen.stdout
    self._writer: Any = None
    self._reader: Any = None

  def __enter__(self) -> '_Process':
    return self

  def __exit__(self, *_: object) -> None:
    self._popen.kill()
    self._popen.wait()
    for pipe in (self._stdin, self._stdout):
      with contextlib.suppress(OSError):
        pipe.close()

  def begin(self, make: str, arguments: Mapping[str, Any]) -> None:
    with self._explained():
      self._stdin.write(json.dumps([make, dict(arguments)]).encode() + b'\n')

  def call(self, batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    with self._explained():
      if not self._writer:
        self._writer = pyarrow.ipc.new_stream(self._stdin, batch.schema)
      self._writer.write_batch(batch)
      self._stdin.flush()
      if not self._reader:
        self._reader = pyarrow.ipc.open_stream(self._stdout)
      return self._reader.read_next_batch()

  def end(self) -> None:
    """Lets it wait for another `begin`."""
    if not self._writer:  # no batch came: it waits for their schema
      self._writer = pyarrow.ipc.new_stream(self._stdin, pyarrow.schema([]))
    with self._explained():
      self._writer.close()
      self._stdin.flush()
      if self._reader:
        self._reader.read_all()  # the mark of its end
    self._writer = self._reader = None

  @contextlib.contextmanager
  def _explained(self) -> Iterator[None]:
    try:
      yield
    except (OSError, StopIteration, pyarrow.ArrowException):
      with contextlib.suppress(subprocess.TimeoutExpired):
        self._popen.wait(5)
      why = 'see what it printed above'
      if self._popen.returncode == -signal.SIGKILL:
        why = (
          'perhaps for want of memory; start again on a machine with more, or '
          'with fewer cores: taskset -c 0'
        )
      raise RunStopped(
        f'a process that prepares the corpus ended, {why}', status=1
      ) from None  # contextlib raises a StopIteration that is a cause itself


def serve() -> None:
  """Answers batches on standard input on standard output, until the end."""
  source, sink = sys.stdin.buffer, sys.stdout.buffer
  sys.stdout = sys.stderr  # what a library prints is no batch
  without_pandas.tell_pyarrow()
  while line := source.readline():
    make, arguments = json.loads(line)
    function = _find(make)(**arguments)
    writer: Any = None
    for batch in pyarrow.ipc.open_stream(source):
      result = function(batch)
      if not writer:
        writer = pyarrow.ipc.new_stream(sink, result.schema)
      writer.write_batch(result)
      sink.flush()
    if writer:
      writer.close()
      sink.flush()


def _find(name: str) -> Callable[..., Function]:
  module, function = name.split(':')
  return getattr(importlib.import_module(module), function)
