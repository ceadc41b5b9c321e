"""Metrics of runs in words, and the diagram of one.

    >>> words = describe('eval/word_loss', {'word': 'next word'})
    >>> words.title, words.axis
    ('Next-word loss, held out', 'Next-word loss (lower is better)')

What an objective calls its metrics is in its `titles`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bertjax.runs.metrics_file import Metrics
from bertjax.runs.plotter import Diagram, Line

# Those of every run: name -> what it is called and, after a comma, its unit;
# which direction is better; the scale, see `plotter.Diagram`.
COMMON = {
  'learning_rate': ('learning rate', '', 'linear'),
  'grad_norm': ('gradient norm, before clipping', '', 'log'),
  'tokens_per_second': ('speed, tokens a second', 'higher', 'from zero'),
  'data_wait_fraction': ('wait for data, share of time', 'lower', 'from zero'),
}
_PLACES = {'train': 'in training', 'speed': 'in training', 'eval': 'held out'}


class Words(NamedTuple):
  """A metric for people.

  Attributes:
    name: 'Masked-LM loss'.
    place: 'held out'; of another evaluation 'held out, mismatched'.
    axis: 'nats (lower is better)'.
    better: 'higher', 'lower', or '' if neither is.
  """

  name: str
  place: str
  axis: str
  better: str

  @property
  def title(self) -> str:
    """'Masked-LM loss, held out'."""
    return ', '.join(filter(None, (self.name, self.place)))


def describe(metric: str, titles: Mapping[str, str]) -> Words:
  """Returns a metric in words.

  Args:
    metric: as in metrics.jsonl, or a task and one of its metrics.
    titles: see `abstract_objective.Objective`.
  """
  group, _, name = metric.rpartition('/')
  stem, _, kind = name.rpartition('_')
  words, better, _ = COMMON.get(name, (name.replace('_', ' '), None, ''))
  if name in titles:
    words = titles[name]
  elif stem in titles:
    words = f'{titles[stem].replace(" ", "-")} {kind}'
  if better is None:  # the rule that SELECT='best' has, too
    scored = name.endswith('accuracy') or group not in ('train', 'speed')
    better = 'higher' if scored else ''
    better = 'lower' if name.endswith('loss') else better
  called, _, unit = (words[:1].upper() + words[1:]).partition(', ')
  axis = (unit or called) + (f' ({better} is better)' if better else '')
  main, _, which = group.partition('_')
  place = group
  if main in _PLACES:
    place = ', '.join(filter(None, (_PLACES[main], which.replace('_', ' '))))
  return Words(called, place, axis, better)


def baseline(metric: str) -> str:
  """Returns what a metric is compared with; few metrics have it."""
  return metric.removesuffix('_accuracy') + '_baseline'


def lines(
  label: str,
  metrics: Metrics,
  metric: str,
  chances: Mapping[str, float],
  smoothed: bool = False,
) -> list[Line]:
  """Returns the curve of a run and its baseline, if it has them.

  Args:
    label: of the run.
    metrics: of the run.
    metric: one of them.
    chances: see `abstract_objective.Objective`; baselines of what is held out,
      if none was measured.
    smoothed: see `Line`.
  """
  group, _, name = metric.rpartition('/')
  found = []
  if metric in metrics:
    found.append(Line(label, *metrics[metric], smoothed=smoothed))
    if baseline(metric) in metrics:
      found.append(Line(label, *metrics[baseline(metric)], baseline=True))
    elif name in chances and group.startswith('eval'):
      chance = [chances[name]]
      found.append(Line(label, metrics[metric][0][-1:], chance, baseline=True))
  return found


def of_metric(
  metric: str,
  titles: Mapping[str, str],
  curves: Sequence[Line],
  title: str | None = None,
) -> Diagram:
  """Returns the diagram of a metric over the steps.

  Args:
    metric: see `describe`.
    titles: see `describe`.
    curves: of runs.
    title: None: that of the metric.
  """
  words = describe(metric, titles)
  *_, scale = COMMON.get(metric.rpartition('/')[2], ('linear',))
  return Diagram(title or words.title, curves, scale, words.axis)
