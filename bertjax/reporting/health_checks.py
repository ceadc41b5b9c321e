"""Checks of a run, each a function of the run and a reference.

    >>> from bertjax.reporting import references
    >>> objective = model_file.read_objective('runs/books')
    >>> metrics = {'train/loss': ([10], [math.nan])}
    >>> run = Run('books', 'runs/books', metrics, {}, {}, {}, objective)
    >>> of(objective)['finite'](run, references.read('quickstart'))
    Finding(ok=False, text='Total loss in training at step 10 is not finite')

A check returns None if the run or the reference lacks the data for it. What is
better than in the reference passes; a fault that makes a run better is known by
its cause: by the masking, by repeated data, or as answers that can be seen.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from bertjax.reporting import lengths
from bertjax.reporting.references import Reference
from bertjax.reporting.run_reader import Run
from bertjax.runs import diagrams, model_file
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


class Finding(NamedTuple):
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
        named = _named(metric, run)
        return Finding(False, f'{named} at step {step} is not finite')
  return Finding(True, 'every value')


def _named(metric: str, run: Run) -> str:
  """Returns 'Masked-LM loss in training'."""
  words = diagrams.describe(metric, run.objective.titles)
  return f'{words.name} {words.place}'


def _unless(wrong: bool, text: str, why: str) -> Finding:
  """Returns what was observed, and what it means if it is wrong."""
  return Finding(not wrong, f'{text}: {why}' if wrong else text)


def _learning_rate(run: Run, reference: Reference) -> Finding | None:
  steps, values, usual = _beside(run, reference, 'train/learning_rate')
  rates = np.median(usual, axis=0)
  # A run that was prolonged or shortened had another schedule until its rate
  # rose again, or fell at once by twice as much as before and after.
  changes = np.diff(values)
  before, now, after = changes[:-2], changes[1:-1], changes[2:]
  falls = (now < 0) & (now < 2 * np.minimum(before, after)) & (before <= 0)
  rises = (changes[1:] > 0) & (changes[:-1] < 0)
  rises[: len(falls)] |= falls
  rates[: max(*np.flatnonzero(rises), -2, -2) + 2] = 0
  # Not at the end of a decay to 0, where one step more or less halves it.
  (compared,) = np.nonzero(rates > 0.02 * rates.max(initial=0))
  if not len(compared):
    return None
  ratios = values[compared] / rates[compared]
  worst = np.argmax(np.abs(np.log(np.maximum(ratios, 1e-12))))
  i, ratio = compared[worst], ratios[worst]
  return _unless(
    not 1 / _RATE <= ratio <= _RATE,
    f'{values[i]:.3g} at step {steps[i]}, expected {rates[i]:.3g}',
    f'{ratio:.3g} times; look at LEARNING_RATE, WARMUP_STEPS and TRAIN_STEPS',
  )


def _masking(run: Run, reference: Reference) -> Finding | None:
  texts, ok = [], True
  for name, tolerance in _SHARES.items():
    _, values, healthy = _beside(run, reference, f'train/{name}')
    if len(values):
      ours, usual = values.mean(), healthy.mean()
      what = name.removesuffix('_fraction').replace('_', ' ')
      text = f'{what} {ours:.3f}, reference {usual:.3f}'
      if abs(ours - usual) > tolerance:
        ok, text = False, f'{text} (!)'
      texts.append(text)
  return Finding(ok, '; '.join(texts)) if texts else None


def _stuck(run: Run, reference: Reference) -> Finding | None:
  """Checks that the loss of choosing a token falls as in healthy runs."""
  metric = f'train/{run.objective.vocabulary_loss}'
  steps, values, usual = _beside(run, reference, metric)
  if len(steps) < 3:
    return None
  ends = [len(steps) // 2 - 1, -1]
  (first, last), (before, now) = steps[ends], values[ends]
  usual_before, usual_now = np.median(usual[:, ends], axis=0)
  text = (
    f'{_named(metric, run)} {before:.3f} at step {first}, {now:.3f} at step '
    f'{last}'
  )
  if now <= limits(run, reference, metric, last)[1]:
    return Finding(True, text)
  size = model_file.read(run.directory).vocabulary_size
  if now > 0.97 * math.log(size):
    return Finding(
      False,
      f'{text}: that of guessing among the {size:,} '
      f'entries of the vocabulary, {math.log(size):.2f}; the '
      'model learns nothing',
    )
  fell, expected = 1 - now / before, 1 - usual_now / usual_before
  return _unless(
    expected > 0.03 and fell < expected / 2,
    text,
    f'healthy runs fell by {expected:.0%}; the most frequent words are all '
    'that it knows',
  )


def _leak(run: Run, reference: Reference) -> Finding | None:
  """Checks that the loss of choosing a token is not too low to be learnt."""
  metric = f'train/{run.objective.vocabulary_loss}'
  steps, values, _ = _beside(run, reference, metric)
  if not len(steps):
    return None
  least = reference.curves[metric][1].min()
  return _unless(
    values[-1] < least / 2,
    f'{_named(metric, run)} {values[-1]:.3f}, reference never below '
    f'{least:.3f}',
    'too low to be learnt, so the model sees the answers; look at the masking, '
    'and for text that stands twice in a row of a batch',
  )


def _above_chance(
  accuracy: str, chance: float, run: Run, reference: Reference
) -> Finding | None:
  """Checks that it is above chance once that of healthy runs is."""
  metric = f'train/{accuracy}'
  steps, values, _ = _beside(run, reference, metric)
  if not len(steps):
    return None
  since = lengths.as_learnt(run, reference, steps)[-1]
  low, _ = reference.band(metric, steps[-1], since)
  return _unless(
    low > chance + 0.1 and values[-1] < (low + chance) / 2,
    f'accuracy {values[-1]:.3f} at step {steps[-1]}, reference from {low:.3f}',
    'at chance, so its pairs or labels are not what they should be',
  )


def _curves(
  metrics: Sequence[str], run: Run, reference: Reference
) -> Finding | None:
  """Checks that metrics are no worse than their limits.

  It fails for two consecutive points on one side, or, if there are fewer than
  six, for the last one.
  """
  texts, ok = [], True
  for metric in dict.fromkeys(metrics):
    steps, values, _ = _beside(run, reference, metric)
    if not len(steps):
      continue
    low, high = np.array([limits(run, reference, metric, x) for x in steps]).T
    sides = np.sign(values - np.clip(values, low, high))
    strays = [*np.flatnonzero(sides[1:] * sides[:-1] > 0) + 1]
    if len(sides) < 6 and sides[-1]:
      strays.append(-1)
    i = strays[-1] if strays else -1
    where = {1: 'above', -1: 'below'}[sides[i]] if strays else 'limit'
    ok = ok and not strays
    ends = (f'{x:.4g}' for x in (low[i], high[i]) if math.isfinite(x))
    text = f'{_named(metric, run)} {values[i]:.4g} at step {steps[i]}, {where} '
    texts.append(text + ' to '.join(ends))
  return Finding(ok, '; '.join(texts)) if texts else None


def limits(
  run: Run, reference: Reference, metric: str, step: int
) -> tuple[float, float]:
  """Returns what is still healthy: from the one to the other.

  It is the reference's band, widened by its own width, or by what is usual for
  this kind of metric if that is more; and on the side of the better, infinite.

  Args:
    run: see `run_reader`.
    reference: see `references`.
    metric: one of the reference.
    step: between the reference's first and last.
  """
  least, most = reference.band(metric, step)
  (since,) = lengths.as_learnt(run, reference, np.array([step]))
  low, high = reference.band(metric, step, since)
  if metric.endswith('grad_norm'):
    factor = max(_FACTOR, most / max(least, 1e-12))
    return low / factor, high * factor
  if metric.endswith('loss'):
    return -math.inf, high + max(most - least, _LOSS * most)
  return low - max(most - least, _ACCURACY), math.inf


def _data_wait(run: Run, reference: Reference) -> Finding | None:
  _, values, usual = _beside(run, reference, 'speed/data_wait_fraction')
  if len(values) < 2:
    return None
  # Buffers fill in the first.
  ours, most = values[1:].mean(), usual[:, 1:].mean(axis=1).max()
  return _unless(
    ours > most + _WAIT,
    f'{ours:.1%} of the time waits for data, reference {most:.1%}',
    'the pipeline is slower than the model; see '
    'experiments/benchmarks/pipeline.py',
  )


def _repeated(run: Run, reference: Reference) -> Finding | None:
  """Checks that the loss in training is not far below the held-out loss."""
  loss = run.objective.vocabulary_loss
  losses = (f'train/{loss}', f'eval/{loss}')
  if not all(x in run.metrics and x in reference.curves for x in losses):
    return None
  curves = [run.metrics[x] for x in losses]
  steps = np.intersect1d(curves[0][0], curves[1][0])
  train, held_out = (np.interp(steps, *curve) for curve in curves)
  usual_train, usual_held_out = (reference.values(x, steps) for x in losses)
  gaps, usual_gaps = held_out - train, usual_held_out - usual_train
  (known,) = np.nonzero(np.isfinite(gaps + usual_gaps.sum(axis=0)))
  if not len(known):
    return None
  i = known[-1]
  usual = usual_gaps[:, i]
  slack = max(np.ptp(usual), _LOSS * train[i])
  return _unless(
    gaps[i] > usual.max() + slack,
    f'held-out loss is {gaps[i]:+.3f} from that in training at step '
    f'{steps[i]}, reference {usual.min():+.3f} to {usual.max():+.3f}',
    'known by heart; the same text comes again and again',
  )


def of(objective: ObjectiveFacts) -> dict[str, Check]:
  """Returns name -> check of a run that is trained for an objective."""
  watched, chances = objective.watched or objective.losses, objective.chances
  above_chance = {}
  for metric, chance in chances.items():
    name, _, kind = metric.rpartition('_')
    if kind != 'accuracy':  # others are not known in training
      continue
    title = objective.titles.get(name, name)
    above_chance[title] = partial(_above_chance, metric, chance)
  train = [f'train/{name}' for name in watched if name not in chances]
  held_out = [f'eval/{name}' for name in watched]
  return {
    'finite': _finite,
    'learning rate': _learning_rate,
    'masking': _masking,
    'stuck loss': _stuck,
    'leak': _leak,
    **above_chance,
    'training': partial(_curves, ['train/loss', *train]),
    'held out': partial(_curves, [*held_out, 'eval/loss', 'eval/accuracy']),
    'gradient norm': partial(_curves, ['train/grad_norm']),
    'repeated data': _repeated,
    'data stall': _data_wait,
  }


def _beside(
  run: Run, reference: Reference, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns the n points at which both have finite values.

  Returns:
    steps: int[n], values of the run: float[n], and of the reference's runs:
    float[seeds, n].
  """
  if metric not in run.metrics or metric not in reference.curves:
    return np.empty(0), np.empty(0), np.empty((1, 0))
  steps, values = map(np.array, run.metrics[metric])
  if metric == 'train/learning_rate':
    usual = reference.values(metric, lengths.in_schedule(run, reference, steps))
    both = np.isfinite(values + usual.sum(axis=0))
    return steps[both], values[both], usual[:, both]
  if metric.startswith('train/'):
    steps, values = _in_windows(steps, values, reference.curves[metric][0])
  usual = reference.values(metric, steps)
  lagging = reference.values(metric, lengths.as_learnt(run, reference, steps))
  both = np.isfinite(values + (usual + lagging).sum(axis=0))
  return steps[both], values[both], usual[:, both]


def _in_windows(
  steps: np.ndarray, values: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Averages a run's values over the intervals between a reference's steps.

  train/* are means since the previous line, so those of a run that was logged
  more often are noisier.
  """
  windows = np.searchsorted(ends, steps)  # the last is that of all beyond
  counts, sums = (
    np.bincount(windows, weights, len(ends) + 1)[:-1]
    for weights in (None, values)
  )
  if counts.max() <= 1:
    return steps, values
  whole = np.isin(ends, steps)
  return ends[whole], sums[whole] / counts[whole]
