"""Applies a function to batches of Arrow, in order, by several processes.

    with workers.mapper('bertjax.corpus.preparation:counter',
                        {'cased': False}, processes=2) as over:
      for counted in over(batches):
        ...

`counter(cased=False)` is called once in each process, and what it returns maps
a `pyarrow.RecordBatch` to another one. Between the processes go JSON and Arrow,
through pipes; so nothing is unpickled, no port is opened, a script needs no
`if __name__ == '__main__'`, and a process ends with its parent. (The module
multiprocessing offers neither: it pickles, imports the script again, or forks,
which JAX's threads do not survive.)
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
Mapper = Callable[
  [Iterable[pyarrow.RecordBatch]], Iterator[pyarrow.RecordBatch]
]
_AHEAD = 2  # batches that wait for each process
_START = 'from bertjax.corpus import workers; workers.serve()'


def available() -> int:
  """Returns how many cores this process may use."""
  if hasattr(os, 'sched_getaffinity'):  # not on macOS
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


@contextlib.contextmanager
def mapper(
  make: str, arguments: Mapping[str, Any], processes: int
) -> Iterator[Mapper]:
  """Yields what maps batches to results, in their order.

  Args:
    make: 'module:function', which returns the function for batches.
    arguments: of `make`, as JSON can hold them.
    processes: 1: no other than this one.

  Raises:
    RunStopped: one of them ended.
  """
  if processes == 1:
    function = _find(make)(**arguments)
    yield lambda batches: map(function, batches)
    return
  idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
  with contextlib.ExitStack() as stack:
    for _ in range(processes):
      idle.put(stack.enter_context(_Process(make, arguments)))

    def call(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
      process = idle.get()
      try:
        return process.call(batch)
      finally:
        idle.put(process)

    executor = stack.enter_context(futures.ThreadPoolExecutor(processes))

    def over(
      batches: Iterable[pyarrow.RecordBatch],
    ) -> Iterator[pyarrow.RecordBatch]:
      pending: collections.deque[futures.Future[Any]] = collections.deque()
      for batch in batches:
        pending.append(executor.submit(call, batch))
        if len(pending) > _AHEAD * processes:
          yield pending.popleft().result()
      while pending:
        yield pending.popleft().result()

    yield over


class _Process:
  """A process that answers each batch with one."""

  def __init__(self, make: str, arguments: Mapping[str, Any]):
    self._popen = subprocess.Popen(
      [sys.executable, '-c', _START],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )
    assert self._popen.stdin and self._popen.stdout
    self._stdin, self._stdout = self._popen.stdin, self._popen.stdout
    self._stdin.write(json.dumps([make, dict(arguments)]).encode() + b'\n')
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

  def call(self, batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    try:
      if not self._writer:
        self._writer = pyarrow.ipc.new_stream(self._stdin, batch.schema)
      self._writer.write_batch(batch)
      self._stdin.flush()
      if not self._reader:
        self._reader = pyarrow.ipc.open_stream(self._stdout)
      return self._reader.read_next_batch()
    except (OSError, StopIteration, pyarrow.ArrowException) as error:
      raise RunStopped(
        'a process that prepares the corpus ended, perhaps for want of memory; '
        'start again on a machine with more, or with fewer cores: taskset -c 0',
        status=1,
      ) from error


def serve() -> None:
  """Answers batches on standard input on standard output, until the end."""
  source, sink = sys.stdin.buffer, sys.stdout.buffer
  sys.stdout = sys.stderr  # what a library prints is no batch
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
  without_pandas.tell_pyarrow()
  make, arguments = json.loads(source.readline())
  function = _find(make)(**arguments)
  writer: Any = None
  for batch in pyarrow.ipc.open_stream(source):
    result = function(batch)
    if not writer:
      writer = pyarrow.ipc.new_stream(sink, result.schema)
    writer.write_batch(result)
    sink.flush()


def _find(name: str) -> Callable[..., Function]:
  module, function = name.split(':')
  return getattr(importlib.import_module(module), function)
