"""What a run measures: metrics.jsonl, examples.jsonl, and TensorBoard's events.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run_dir:
    ...   with Writer(run_dir) as writer:
    ...     writer.write(100, {'eval/loss': 7.25}, ['the [cat≠dog] sat'])
    ...   read_metrics(run_dir), read_examples(run_dir)
    ({'eval/loss': ([100], [7.25])}, {100: ['the [cat≠dog] sat']})

Both files have one line per step, in order, each a JSON object:
`{"step": 100, "eval/loss": 7.25}` with the metrics of the step, and
`{"step": 100, "texts": [...]}` with held-out text whose masks are filled in.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2

from bertjax.errors import UserError
from bertjax.parallel import processes
from bertjax.runs import layout, output_files
from bertjax.text import input_files, whole_files

Metrics = dict[str, tuple[list[int], list[float]]]  # name -> steps, values
# In characters: far more than any that `Writer` writes.
_LONGEST_LINE = 1 << 22
# File -> forms of its lines beside `step`; None: all are numbers.
_FORMS = {layout.METRICS: None, layout.EXAMPLES: {'texts': list[str]}}


class Writer(contextlib.AbstractContextManager['Writer']):
  """Appends what a run measures to its files.

  Only the first of several processes writes. The events are written by the
  calling thread: tensorboardX's own SummaryWriter sends them as pickles to
  another one, and waits for ever once a full disk has killed it.

  Args:
    directory: RUN_DIR, which must exist.
    step: of the checkpoint that the run goes on from. What was written after it
      is dropped, and so is a last line that a kill cut off.

  Raises:
    UserError: the file system refuses to write.
  """

  def __init__(self, directory: str, step: int = 0):
    self._directory = directory
    self._last_step = step
    self._closing = contextlib.ExitStack()
    if not processes.is_first():
      return
    for name in (layout.METRICS, layout.EXAMPLES):
      path = os.path.join(directory, name)
      lines = [line for line, record in _lines(path) if record['step'] <= step]
      if os.path.exists(path):
        output_files.write_text(path, ''.join(lines), 'RUN_DIR')
    folder = os.path.join(directory, layout.TENSORBOARD)
    with output_files.explain_failure(folder):
      os.makedirs(folder, exist_ok=True)
      self._events = EventsWriter(os.path.join(folder, 'events'))
      self._closing.callback(self._events.close)
      # TensorBoard then hides the events of later steps in earlier files.
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._write_event(step=step + 1, session_log=start)
      self._events.flush()

  def __exit__(self, *_: object) -> None:
    with output_files.explain_failure(self._directory):
      self._closing.close()

  def write(
    self,
    step: int,
    values: Mapping[str, float],
    examples: Sequence[str] = (),
  ) -> None:
    """Writes one step and flushes it, so that no kill can lose it.

    Args:
      step: updates made so far, more than in the line before.
      values: name -> number. Enough digits are written to read back the same
        float64, and so the same float32. A number that is not finite becomes
        null, since JSON has no word for it.
      examples: texts that show what the model does.
    """
    if not processes.is_first():
      return
    if step <= self._last_step:
      raise ValueError(f'step {step} after step {self._last_step}')
    self._last_step = step
    numbers = {name: float(value) for name, value in values.items()}
    record = {
      name: number if math.isfinite(number) else None
      for name, number in numbers.items()
    }
    self._append(layout.METRICS, {'step': int(step), **record})
    if examples:
      self._append(layout.EXAMPLES, {'step': int(step), 'texts': [*examples]})
    with output_files.explain_failure(self._directory):
      for name, number in numbers.items():
        self._write_event(step=step, summary=summary.scalar(name, number))
      self._events.flush()

  def _append(self, name: str, record: dict[str, Any]) -> None:
    path = os.path.join(self._directory, name)
    with (
      output_files.explain_failure(path),
      open(path, 'a', encoding='utf-8') as file,
    ):
      line = json.dumps(record, ensure_ascii=False, allow_nan=False)
      file.write(line + '\n')

  def _write_event(self, **fields: Any) -> None:
    event = event_pb2.Event(wall_time=time.time(), **fields)
    self._events.write_event(event)


def read_metrics(directory: str) -> Metrics:
  """Returns a run's metrics, null as nan; {} if there is no file.

  Raises:
    UserError: a line is damaged.
  """
  curves: Metrics = {}
  for _, record in _lines(os.path.join(directory, layout.METRICS)):
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


def read_examples(directory: str) -> dict[int, list[str]]:
  """Returns step -> texts of a run; {} if there is no file."""
  lines = _lines(os.path.join(directory, layout.EXAMPLES))
  return {record['step']: record['texts'] for _, record in lines}


def _lines(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields each line and its object, but for a last one that is cut off."""
  number = 0
  forms = _FORMS[os.path.basename(path)]
  fix = 'remove the line, or leave the run out'
  with (
    contextlib.suppress(FileNotFoundError),
    open(path, encoding='utf-8', errors='replace') as file,
  ):
    while line := file.readline(_LONGEST_LINE):
      number += 1
      where = f'line {number} of {path}'
      if not line.endswith('\n'):
        if len(line) == _LONGEST_LINE:
          raise UserError(f'{where} is longer than any of a run; {fix}')
        break
      record = input_files.json_object(line, where, fix)
      whole_files.check(record, {'step': int}, where, fix)
      whole_files.check(record, forms or _numbers(record), where, fix)
      yield line, record


def _numbers(record: Mapping[str, Any]) -> dict[str, Any]:
  return dict.fromkeys(record, float | None)
