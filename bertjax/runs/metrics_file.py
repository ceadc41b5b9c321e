"""metrics.jsonl of a run, and the same numbers for TensorBoard.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run_dir:
    ...   with Writer(run_dir) as writer:
    ...     writer.resume(0)
    ...     writer.write(100, {'train/loss': 7.25})
    ...   read_metrics(run_dir)
    {'train/loss': ([100], [7.25])}

metrics.jsonl has one line per step, in order, each a JSON object:
`{"step": 100, "train/loss": 7.25}`.
"""

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Mapping
from typing import Self, TextIO

from tensorboardX import record_writer, summary
from tensorboardX.proto import event_pb2

from bertjax.parallel import processes
from bertjax.runs import layout, output_files

Metrics = dict[str, tuple[list[int], list[float]]]  # name -> steps, values


class Writer:
  """Appends the metrics of a run to metrics.jsonl and TensorBoard's events.

  Only the first of several processes writes.

  Args:
    directory: RUN_DIR, which must exist.

  Raises:
    UserError: the file system refuses to write.
  """

  def __init__(self, directory: str):
    self._directory = directory
    self._path = os.path.join(directory, layout.METRICS)
    self._file: TextIO | None = None
    self._events: _Events | None = None
    self._last_step = -1

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def resume(self, step: int) -> None:
    """Drops what was written after `step`, the step of a restored checkpoint.

    Drops a last line that a kill cut off, too. Call it before the first `write`
    of a process; `resume(0)` starts the files of a new run.
    """
    if not processes.is_first():
      return
    self.close()
    lines = [
      line for line, record in read_lines(self._path) if record['step'] <= step
    ]
    with output_files.explain_failure(self._path):
      output_files.write_text(self._path, ''.join(lines), 'RUN_DIR')
      self._file = open(self._path, 'a', encoding='utf-8')
      self._events = _Events(
        os.path.join(self._directory, layout.TENSORBOARD), step + 1
      )
    self._last_step = json.loads(lines[-1])['step'] if lines else -1

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one step's line and flushes it, so that no kill can lose it.

    Args:
      step: updates made so far, more than in the line before.
      values: name -> number. Enough digits are written to read back the same
        float64, and so the same float32. A number that is not finite becomes
        null, since JSON has no word for it.
    """
    if not processes.is_first():
      return
    if self._file is None or self._events is None:
      raise ValueError('call Writer.resume before Writer.write')
    if step <= self._last_step:
      raise ValueError(f'step {step} after step {self._last_step}')
    numbers = {name: float(value) for name, value in values.items()}
    record = {
      name: number if math.isfinite(number) else None
      for name, number in numbers.items()
    }
    line = json.dumps({'step': int(step), **record}, allow_nan=False)
    with output_files.explain_failure(self._path):
      self._file.write(line + '\n')
      self._file.flush()
      self._events.write(step, numbers)
    self._last_step = step

  def close(self) -> None:
    """Flushes and closes the files."""
    file, events = self._file, self._events
    self._file = self._events = None
    with (
      output_files.explain_failure(self._path),
      contextlib.ExitStack() as both,  # the second also if the first fails
    ):
      for opened in (file, events):
        if opened is not None:
          both.callback(opened.close)


class _Events:
  """A file of TensorBoard events, written by the calling thread.

  tensorboardX's own SummaryWriter sends events as pickles to a thread, and
  waits for ever once a full disk has killed that thread.
  """

  _FLUSH_SECONDS = 10

  def __init__(self, directory: str, first_step: int):
    os.makedirs(directory, exist_ok=True)
    now = time.time()
    name = f'events.out.tfevents.{int(now)}.{socket.gethostname()}'
    self._file = record_writer.RecordWriter(os.path.join(directory, name))
    self._write(file_version='brain.Event:2')
    # TensorBoard then hides the events of later steps in earlier files.
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(step=first_step, session_log=start)
    self._flushed = -math.inf

  def write(self, step: int, numbers: Mapping[str, float]) -> None:
    now = time.time()
    for name, number in numbers.items():
      self._write(step=step, summary=summary.scalar(name, number))
    if now - self._flushed > self._FLUSH_SECONDS:
      self._file.flush()
      self._flushed = now

  def close(self) -> None:
    self._file.close()

  def _write(self, **fields) -> None:
    event = event_pb2.Event(wall_time=time.time(), **fields)
    self._file.write(event.SerializeToString())


def read_metrics(directory: str) -> Metrics:
  """Returns a run's metrics, null as nan; {} if there is no file."""
  curves: Metrics = {}
  for _, record in read_lines(os.path.join(directory, layout.METRICS)):
    step = record.pop('step')
    for name, value in record.items():
      steps, values = curves.setdefault(name, ([], []))
      steps.append(step)
      values.append(math.nan if value is None else value)
  return curves


def read_evaluations(directory: str) -> list[tuple[int, dict[str, float]]]:
  """Returns (step, name -> value) of each evaluation of a run, in their order.

  These are the values that are neither train/* nor speed/*. All processes must
  call it; the first one reads, since files reach other machines late.
  """

  def read() -> list[tuple[int, dict[str, float]]]:
    found: dict[int, dict[str, float]] = {}
    for name, curve in read_metrics(directory).items():
      if not name.startswith(('train/', 'speed/')):
        for step, value in zip(*curve, strict=True):
          found.setdefault(step, {})[name] = value
    return sorted(found.items())

  return processes.from_first(read)


def read_lines(path: str) -> list[tuple[str, dict]]:
  """Returns each line and its object, up to the first incomplete line."""
  found = []
  if os.path.exists(path):
    with open(path, encoding='utf-8', errors='replace') as file:
      for line in file:
        try:
          record = json.loads(line)
        except json.JSONDecodeError:
          break
        if not line.endswith('\n'):
          break
        found.append((line, record))
  return found
