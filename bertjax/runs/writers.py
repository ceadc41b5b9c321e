"""What a run tells: metrics.jsonl, TensorBoard, curves.png, a live line.

    with Writer('runs/x') as writer, Progress(total_steps=1000) as progress:
      writer.resume(0)
      writer.write(100, {'train/loss': 7.25, 'eval/mlm_accuracy': 0.125})
      progress.update(100, {'train/loss': 7.25})
    curves('runs/x')

metrics.jsonl has one JSON object a line and one line a step, in order:
`{"step": 100, "train/loss": 7.25}`. Source: ours.
"""

import contextlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Mapping

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2

from bertjax.errors import UserError
from bertjax.parallel import processes

METRICS = 'metrics.jsonl'
CURVES = 'curves.png'
TENSORBOARD = 'tensorboard'

# Title, vertical axis ('from zero' where noise would fill it), and the names of
# what is drawn: curves of 'train' and 'eval' share a panel.
_PANELS = (
  ('masked-LM loss, nats', 'linear', ('mlm_loss',)),
  ('masked-LM accuracy', 'linear', ('mlm_accuracy', 'mlm_baseline')),
  ('next-sentence loss, nats', 'linear', ('nsp_loss',)),
  ('next-sentence accuracy', 'linear', ('nsp_accuracy', 'nsp_baseline')),
  ("the task's loss", 'linear', ('loss',)),
  (
    "the task's metrics",
    'linear',
    (
      'accuracy',
      'f1',
      'f1_macro',
      'f1_micro',
      'matthews',
      'pearson',
      'spearman',
      'exact_match',
    ),
  ),
  ('learning rate', 'linear', ('learning_rate',)),
  ('gradient norm, before clipping', 'log', ('grad_norm',)),
  ('tokens a second', 'from zero', ('tokens_per_second',)),
  ('share of time waiting for data', 'from zero', ('data_wait_fraction',)),
)
_COLOURS = {'train': '#1f6fb4', 'eval': '#d9601a', 'speed': '#555555'}


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
    self._path = os.path.join(directory, METRICS)
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
    with explain_failure(self._path):
      with open(self._path + '.new', 'w', encoding='utf-8') as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
      os.replace(self._path + '.new', self._path)
      self._file = open(self._path, 'a', encoding='utf-8')
      self._events = _Events(
        os.path.join(self._directory, TENSORBOARD), step + 1
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
    with explain_failure(self._path):
      self._file.write(line + '\n')
      self._file.flush()
      self._events.write(step, numbers)
    self._last_step = step

  def close(self):
    """Flushes and closes the files."""
    files = [f for f in (self._file, self._events) if f is not None]
    self._file = self._events = None
    with explain_failure(self._path):
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
  for _, record in read_lines(os.path.join(directory, METRICS)):
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


@contextlib.contextmanager
def explain_failure(path: str):
  """Turns what the file system refuses into a UserError."""
  try:
    yield
  except OSError as error:
    raise UserError(
      f'cannot write {path} ({error.strerror}); free space there or set'
      ' RUN_DIR to another directory'
    ) from error


def curves(directory: str) -> str | None:
  """Draws curves.png of a run from its metrics.jsonl, a panel a quantity.

  Returns:
    the path of the picture; None where nothing of `_PANELS` was written.
  """
  from matplotlib.figure import Figure  # takes a second, once a run

  metrics = read_metrics(directory)
  panels = [
    panel
    for panel in _PANELS
    if any(name.split('/')[-1] in panel[2] for name in metrics)
    # In pretraining it is the sum of what other panels show.
    and not (panel[2] == ('loss',) and 'train/mlm_loss' in metrics)
  ]
  if not panels:
    return None
  columns = min(4, (len(panels) + 1) // 2)
  rows = -(-len(panels) // columns)
  figure = Figure(figsize=(3.4 * columns, 2.6 * rows), layout='constrained')
  grid = figure.subplots(rows, columns, squeeze=False).flat
  for axes, (title, vertical, names) in zip(grid, panels, strict=False):
    _draw(axes, metrics, names)
    if vertical == 'log':
      axes.set_yscale('log')
    elif vertical == 'from zero':
      axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=10, loc='left')
    axes.set_xlabel('step', fontsize=8)
    axes.tick_params(labelsize=8, which='both')
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[['top', 'right']].set_visible(False)
    if len(axes.get_lines()) > 1:
      axes.legend(fontsize=8, frameon=False)
  for axes in grid:  # what is left of the grid
    axes.remove()
  path = os.path.join(directory, CURVES)
  with explain_failure(path):
    figure.savefig(path, dpi=130)
  return path


def _draw(axes, metrics, names):
  """Draws each metric whose last part is one of `names`."""
  for full_name, (steps, values) in metrics.items():
    group, _, name = full_name.rpartition('/')
    if name not in names:
      continue
    several = len(names) > 2  # the next colour, and the name of each
    colour = None if several else _COLOURS.get(group, '#3a8f5c')
    if name.endswith('_baseline'):  # of the held-out data, so always the same
      axes.axhline(
        values[-1],
        color=colour,
        linewidth=1,
        linestyle='--',
        label='most frequent answer',
      )
    else:
      axes.plot(
        steps,
        values,
        color=colour,
        linewidth=1.4,
        label=full_name if several else group,
        marker='.' if len(steps) < 30 else None,
      )


class Progress:
  """One live line on a terminal; elsewhere a line each time.

      step 500/1500   loss 5.1234   12.3 steps/s   50,381 tokens/s   1:21 left

  Args:
    total_steps: of the whole run.
    step: where this process begins.
    stream: where to; None is standard output.
  """

  def __init__(self, total_steps: int, step: int = 0, stream=None):
    self._total_steps = total_steps
    self._stream = stream or sys.stdout
    self._is_terminal = self._stream.isatty()
    self._line = ''
    self._began = (step, time.monotonic())

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._is_terminal and self._line:
      self._print('\n')

  def update(self, step: int, values: Mapping[str, float]):
    """Shows a step; `values` are named as in metrics.jsonl, all optional."""
    first_step, began = self._began
    seconds = values.get(
      'speed/step_seconds',
      (time.monotonic() - began) / max(1, step - first_step),
    )
    parts = [f'step {step}/{self._total_steps}']
    if 'train/loss' in values:
      parts.append(f'loss {values["train/loss"]:.4f}')
    if seconds > 0:
      parts.append(f'{1 / seconds:.3g} steps/s')
    if 'speed/tokens_per_second' in values:
      parts.append(f'{values["speed/tokens_per_second"]:,.0f} tokens/s')
    if 'speed/mfu' in values:
      parts.append(f'{values["speed/mfu"]:.1%} of the peak')
    parts.append(f'{_clock((self._total_steps - step) * seconds)} left')
    self._line = '   '.join(parts)
    self._show()

  def note(self, text: str):
    """Prints a line of its own, above the live one."""
    if self._is_terminal:
      self._print('\r\x1b[K')  # to the line's start, and erase it
    self._print(text + '\n')
    if self._is_terminal:
      self._show()

  def _show(self):
    if not self._is_terminal:
      self._print(self._line + '\n')
    elif self._line:
      width = shutil.get_terminal_size().columns - 1  # a full line would wrap
      self._print('\r\x1b[K' + self._line[:width])

  def _print(self, text: str):
    self._stream.write(text)
    self._stream.flush()


def _clock(seconds: float) -> str:
  """Returns 3725.0 as '1:02:05'."""
  minutes, second = divmod(round(seconds), 60)
  hours, minute = divmod(minutes, 60)
  rest = f'{minute:02}:{second:02}' if hours else f'{minute}:{second:02}'
  return f'{hours}:{rest}' if hours else rest
