"""metrics.jsonl of a run, and the same numbers for TensorBoard.

    with metrics_file.Writer('runs/x') as writer:
      writer.resume(0)
      writer.write(100, {'train/loss': 7.25, 'eval/mlm_accuracy': 0.125})
    metrics_file.read_metrics('runs/x')['train/loss']       # ([100], [7.25])

metrics.jsonl has one JSON object a line and one line a step, in order:
`{"step": 100, "train/loss": 7.25}`.
"""

import json
import math
import os
import time
from collections.abc import Mapping

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2

from bertjax.parallel import processes
from bertjax.runs import layout, output_files


class Writer:
  """Appends the metrics of a run to metrics.jsonl and TensorBoard's events.

  Of several processes the first one writes, and the others write nothing.

  Args:
    directory: RUN_DIR, which must exist.

  Raises:
    UserError: the file system refuses to write.
  """

  def __init__(self, directory: str):
    self._directory = directory
    self._path = os.path.join(directory, layout.METRICS)
    self._file = None
    self._events = None
    self._last_step = -1

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def resume(self, step: int):
    """Drops what was written after `step`, the step of a restored checkpoint.

    A last line that was cut off by a kill goes as well. Call it before the
    first `write` of a process; `resume(0)` of a new run starts the files.
    """
    if not processes.is_first():
      return
    self.close()
    lines = [
      line for line, record in read_lines(self._path) if record['step'] <= step
    ]
    with output_files.explain_failure(self._path):
      with open(self._path + '.new', 'w', encoding='utf-8') as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
      os.replace(self._path + '.new', self._path)
      self._file = open(self._path, 'a', encoding='utf-8')
      self._events = _Events(
        os.path.join(self._directory, layout.TENSORBOARD), step + 1
      )
    self._last_step = json.loads(lines[-1])['step'] if lines else -1

  def write(self, step: int, values: Mapping[str, float]):
    """Writes one step's line and flushes it, so that no kill can lose it.

    Args:
      step: updates made so far, greater than that of the line before.
      values: name -> number. Each is written with the digits that give back
        the same float64, and so also float32. One that is not finite becomes
        null, since JSON has no word for it.
    """
    if not processes.is_first():
      return
    if self._file is None:
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

  def close(self):
    """Flushes and closes the files."""
    files = [f for f in (self._file, self._events) if f is not None]
    self._file = self._events = None
    with output_files.explain_failure(self._path):
      for file in files:
        file.close()


class _Events:
  """A file of TensorBoard's events, written by the thread that calls.

  tensorboardX's own SummaryWriter sends events as pickles to a thread, and
  waits for ever once that thread has died of a full disk.
  """

  _FLUSH_SECONDS = 10

  def __init__(self, directory: str, first_step: int):
    os.makedirs(directory, exist_ok=True)
    self._file = event_file_writer.EventsWriter(
      os.path.join(directory, 'events')
    )
    # TensorBoard then hides the events of later steps in earlier files.
    self._file.write_event(
      event_pb2.Event(
        step=first_step,
        wall_time=time.time(),
        session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START),
      )
    )
    self._flushed = -math.inf

  def write(self, step: int, numbers: Mapping[str, float]):
    now = time.time()
    for name, number in numbers.items():
      self._file.write_event(
        event_pb2.Event(
          step=step, wall_time=now, summary=summary.scalar(name, number)
        )
      )
    if now - self._flushed > self._FLUSH_SECONDS:
      self._file.flush()
      self._flushed = now

  def close(self):
    self._file.close()


def read_metrics(directory: str) -> dict[str, tuple[list[int], list[float]]]:
  """Returns name -> (steps, values) of a run, null as nan; {} without file."""
  curves = {}
  for _, record in read_lines(os.path.join(directory, layout.METRICS)):
    step = record.pop('step')
    for name, value in record.items():
      steps, values = curves.setdefault(name, ([], []))
      steps.append(step)
      values.append(math.nan if value is None else value)
  return curves


def read_lines(path: str) -> list[tuple[str, dict]]:
  """Returns whole lines with what they hold, up to one that is cut off."""
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
