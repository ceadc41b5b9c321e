"""Checks of a run, each a function of the run and a reference.

    >>> from bertjax.reporting import references
    >>> objective = model_file.read_objective('runs/books')
    >>> metrics = {'train/loss': ([10], [math.nan])}
    >>> run = Run('books', 'runs/books', metrics, {}, [], {}, objective)
    >>> of(objective)['finite'](run, references.read('quickstart'))
    Finding(ok=False, text='train/loss at step 10 is not finite')

A check returns None if the run or the reference lacks the data for it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from bertjax.errors import UserError
from bertjax.reporting.references import Reference
from bertjax.reporting.run_reader import Run
from bertjax.runs import model_file
from bertjax.runs.model_file import ObjectiveFacts

# Usual deviation beyond the spread of three seeds: a share of a loss, absolute
# for an accuracy, a factor for the gradient's norm.
_LOSS, _ACCURACY, _FACTOR = 0.03, 0.05, 2.0
_RATE = 1.2  # factor of the learning rate
# How far a share of the data may deviate from that of healthy runs.
_SHARES = {
  'masked_fraction': 0.01,
  'visible_fraction': 0.02,
  'random_pair_fraction': 0.04,
}
_WAIT = 0.1  # share of time spent waiting for data beyond the reference's

Check = Callable[[Run, Reference], 'Finding | None']
# Step, value of the run there, and values of the reference's runs there.
Point = tuple[int, float, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Finding:
  """The result of a check.

  Attributes:
    ok: whether the check passed.
    text: what was observed and what was expected.
  """

  ok: bool
  text: str


def _finite(run: Run, reference: Reference) -> Finding:
  del reference
  for metric, (steps, values) in run.metrics.items():
    for step, value in zip(steps, values, strict=True):
      if not math.isfinite(value):
        return Finding(False, f'{metric} at step {step} is not finite')
  return Finding(True, 'every value')


def _learning_rate(run: Run, reference: Reference) -> Finding | None:
  points = _beside(run, reference, 'train/learning_rate')
  points = [point for point in points if _counts(point, points)]
  if not points:
    return None
  ratios = [value / max(np.median(usual), 1e-12) for _, value, usual in points]
  worst = max(
    range(len(points)), key=lambda i: abs(math.log(max(ratios[i], 1e-12)))
  )
  step, value, usual = points[worst]
  text = f'{value:.3g} at step {step}, reference {np.median(usual):.3g}'
  if 1 / _RATE <= ratios[worst] <= _RATE:
    return Finding(True, text)
  return Finding(
    False,
    f'{text}: {ratios[worst]:.3g} times; look at '
    'LEARNING_RATE, WARMUP_STEPS and TRAIN_STEPS',
  )


def _counts(point: Point, points: Sequence[Point]) -> bool:
  """Whether a learning rate can be compared.

  It cannot at the end of a decay to 0, where one step more or less halves it.
  """
  largest = max(np.median(usual) for _, _, usual in points)
  return np.median(point[2]) > 0.02 * largest


def _masking(run: Run, reference: Reference) -> Finding | None:
  texts, ok = [], True
  for name, tolerance in _SHARES.items():
    points = _beside(run, reference, f'train/{name}')
    if not points:
      continue
    ours = float(np.mean([value for _, value, _ in points]))
    usual = float(np.mean([values for _, _, values in points]))
    what = name.removesuffix('_fraction').replace('_', ' ')
    text = f'{what} {ours:.3f}, reference {usual:.3f}'
    if abs(ours - usual) > tolerance:
      ok, text = False, f'{text} (!)'
    texts.append(text)
  return Finding(ok, '; '.join(texts)) if texts else None


def _stuck(run: Run, reference: Reference) -> Finding | None:
  """Checks that the loss of choosing a token falls as in healthy runs."""
  metric = f'train/{run.objective.vocabulary_loss}'
  points = _beside(run, reference, metric)
  if len(points) < 3:
    return None
  (first, before, usual_before) = points[len(points) // 2 - 1]
  (last, now, usual_now) = points[-1]
  expected = 1 - np.median(usual_now) / np.median(usual_before)
  fell = 1 - now / before
  text = f'{metric} {before:.3f} at step {first}, {now:.3f} at step {last}'
  if _side(reference, metric, last, now) <= 0:
    return Finding(True, text)
  size = _vocabulary_size(run)
  if size and now > 0.97 * math.log(size):
    return Finding(
      False,
      f'{text}: that of guessing among the {size:,} '
      f'entries of the vocabulary, {math.log(size):.2f}; the '
      'model learns nothing',
    )
  if expected > 0.03 and fell < expected / 2:
    return Finding(
      False,
      f'{text}, where healthy runs fell by {expected:.0%}: '
      'the most frequent words are all that it knows',
    )
  return Finding(True, text)


def _above_chance(accuracy: str, chance: float) -> Check:
  """Makes a check that it is above chance once that of healthy runs is."""

  def check(run: Run, reference: Reference) -> Finding | None:
    metric = f'train/{accuracy}'
    points = _beside(run, reference, metric)
    if not points:
      return None
    step, value, _ = points[-1]
    low, _ = _band(reference, metric, step)
    text = f'accuracy {value:.3f} at step {step}, reference from {low:.3f}'
    if low > chance + 0.1 and value < (low + chance) / 2:
      return Finding(
        False,
        f'{text}: at chance, so its pairs or labels are not what they should '
        'be',
      )
    return Finding(True, text)

  return check


def _curves(*metrics: str) -> Check:
  """Makes a check that metrics stay within their limits.

  It fails for two consecutive points on one side, or, if there are fewer than
  six, for the last one.
  """

  def check(run: Run, reference: Reference) -> Finding | None:
    texts, ok = [], True
    for metric in dict.fromkeys(metrics):
      points = _beside(run, reference, metric)
      if not points:
        continue
      sides = [
        _side(reference, metric, step, value) for step, value, _ in points
      ]
      strays = [
        i for i in range(1, len(sides)) if sides[i] and sides[i] == sides[i - 1]
      ]
      if len(sides) < 6 and sides[-1]:
        strays.append(len(sides) - 1)
      i = strays[-1] if strays else -1
      step, value, _ = points[i]
      low, high = limits(reference, metric, step)
      where = {1: 'above', -1: 'below'}[sides[i]] if strays else 'within'
      ok = ok and not strays
      texts.append(
        f'{metric} {value:.4g} at step {step}, {where} {low:.4g} to {high:.4g}'
      )
    return Finding(ok, '; '.join(texts)) if texts else None

  return check


def _side(reference: Reference, metric: str, step: int, value: float) -> int:
  """Returns 1 for a value above the limits, -1 below, else 0."""
  low, high = limits(reference, metric, step)
  return int(value > high) - int(value < low)


def _band(reference: Reference, metric: str, step: int) -> tuple[float, float]:
  band = reference.band(metric, step)
  assert band is not None  # checks look at the reference's metrics and steps
  return band


def limits(reference: Reference, metric: str, step: int) -> tuple[float, float]:
  """Returns the reference's band, widened on both sides.

  It is widened by its own width, or by what is usual for this kind of metric if
  that is more.

  Args:
    reference: see `references`.
    metric: one of the reference.
    step: between the reference's first and last.
  """
  low, high = _band(reference, metric, step)
  if metric.endswith('grad_norm'):
    factor = max(_FACTOR, high / max(low, 1e-12))
    return low / factor, high * factor
  usual = _LOSS * high if metric.endswith('loss') else _ACCURACY
  slack = max(high - low, usual)
  return low - slack, high + slack


def _data_wait(run: Run, reference: Reference) -> Finding | None:
  metric = 'speed/data_wait_fraction'
  points = _beside(run, reference, metric)[1:]  # buffers fill in the first
  if not points:
    return None
  ours = np.mean([value for _, value, _ in points])
  usual = np.max(np.mean([usual for _, _, usual in points], axis=0))
  text = f'{ours:.1%} of the time waits for data, reference {usual:.1%}'
  if ours <= usual + _WAIT:
    return Finding(True, text)
  return Finding(
    False,
    f'{text}: the pipeline is slower than the model; see '
    'experiments/benchmarks/pipeline.py',
  )


def _repeated(run: Run, reference: Reference) -> Finding | None:
  """Checks that the loss in training is not far below the held-out loss."""
  loss = run.objective.vocabulary_loss
  losses = (f'train/{loss}', f'eval/{loss}')
  if any(
    loss not in run.metrics or loss not in reference.curves for loss in losses
  ):
    return None
  train, held_out = (
    dict(zip(*run.metrics[loss], strict=True)) for loss in losses
  )
  steps = [
    step
    for step in held_out
    if step in train
    and math.isfinite(held_out[step] - train[step])
    and all(reference.values(loss, step) is not None for loss in losses)
  ]
  if not steps:
    return None
  gap = held_out[steps[-1]] - train[steps[-1]]
  usual_train, usual_held_out = (
    reference.values(loss, steps[-1]) for loss in losses
  )
  assert usual_train is not None and usual_held_out is not None  # see `steps`
  usual = usual_held_out - usual_train
  text = (
    f'held-out loss is {gap:+.3f} from that in training at step '
    f'{steps[-1]}, reference {usual.min():+.3f} to {usual.max():+.3f}'
  )
  slack = max(usual.max() - usual.min(), _LOSS * train[steps[-1]])
  if gap <= usual.max() + slack:
    return Finding(True, text)
  return Finding(
    False, f'{text}: known by heart; the same text comes again and again'
  )


def of(objective: ObjectiveFacts) -> dict[str, Check]:
  """Returns name -> check of a run that is trained for an objective."""
  watched, chances = objective.watched or objective.losses, objective.chances
  guessed = {name.removesuffix('_accuracy'): name for name in chances}
  return {
    'finite': _finite,
    'learning rate': _learning_rate,
    'masking': _masking,
    'stuck loss': _stuck,
    **{
      objective.titles.get(name, name): _above_chance(
        accuracy, chances[accuracy]
      )
      for name, accuracy in guessed.items()
    },
    'training': _curves(
      'train/loss',
      *(f'train/{name}' for name in watched if name not in chances),
    ),
    'held out': _curves(
      *(f'eval/{name}' for name in watched), 'eval/loss', 'eval/accuracy'
    ),
    'gradient norm': _curves('train/grad_norm'),
    'repeated data': _repeated,
    'data stall': _data_wait,
  }


def _beside(run: Run, reference: Reference, metric: str) -> list[Point]:
  """Returns the points at which both have finite values."""
  points = []
  steps, values = run.metrics.get(metric, ([], []))
  if (
    metric in reference.curves
    and metric.startswith('train/')
    and (metric != 'train/learning_rate')
  ):
    steps, values = _in_windows(steps, values, reference.curves[metric][0])
  for step, value in zip(steps, values, strict=True):
    usual = reference.values(metric, step)
    if usual is not None and math.isfinite(value):
      points.append((step, value, usual))
  return points


def _in_windows(
  steps: list[int], values: list[float], ends: np.ndarray
) -> tuple[list[int], list[float]]:
  """Averages a run's values over the intervals between a reference's steps.

  train/* are means since the previous line, so those of a run that was logged
  more often are noisier.
  """
  windows: dict[int, list[tuple[int, float]]] = {}
  for step, value in zip(steps, values, strict=True):
    end = int(np.searchsorted(ends, step))
    if end < len(ends):
      windows.setdefault(int(ends[end]), []).append((step, value))
  if all(len(window) == 1 for window in windows.values()):
    return steps, values
  whole = [end for end, window in windows.items() if window[-1][0] == end]
  return whole, [
    float(np.mean([value for _, value in windows[end]])) for end in whole
  ]


def _vocabulary_size(run: Run) -> int | None:
  try:
    return model_file.read(run.directory).vocabulary_size
  except UserError:
    return None
