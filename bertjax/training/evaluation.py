"""Held-out losses and accuracies, their baselines, and samples for people.

    held_out = evaluation.HeldOut(objective, batches)
    evaluate = held_out.prepare(mesh, abstract_state, 'runs/x')
    found = evaluate(parameters, None)
    found.values, found.summary, found.samples

`Evaluation` is what `loop.train` takes; `HeldOut` is that of pretraining.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from bertjax.batch import Batch
from bertjax.parallel import partitioning, processes
from bertjax.runs import diagrams, model_file
from bertjax.training import step as step_lib
from bertjax.training.abstract_objective import Objective, Terms
from bertjax.training.state import Parameters, TrainState
from bertjax.training.totals import Totals
from bertjax.values import Count, check_fields


class Evaluated(NamedTuple):
  """What an evaluation found.

  Attributes:
    values: name -> value.
    summary: the values as one line; '' if there are none.
    samples: texts that show what the model does.
  """

  values: dict[str, float]
  summary: str
  samples: list[str]


# Parameters and frozen ones -> what was found.
Evaluate = Callable[[Parameters, Parameters | None], Evaluated]


@runtime_checkable
class Evaluation(Protocol):
  """What `loop.train` needs of an evaluation."""

  def prepare(self, mesh: Mesh, abstract: TrainState, run_dir: str) -> Evaluate:
    """Returns the function that evaluates; called once, before training."""


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """An `Evaluation` on held-out text.

  Attributes:
    objective: its terms are evaluated.
    batches: makes the iterable of host batches.
    limit: at most this many batches; None: all.
  """

  objective: Objective
  batches: Callable[[], Iterable[Batch]]
  limit: Count | None = None

  def __post_init__(self) -> None:
    check_fields(self)

  def metrics(
    self,
    abstract: TrainState,
    frozen: Parameters | None,
    shapes: Mapping[str, jax.ShapeDtypeStruct],
  ) -> list[str]:
    """Returns the names of losses and the like, without a batch."""
    terms = functools.partial(self.objective, train=False)
    return [
      *jax.eval_shape(terms, abstract.parameters, shapes, None, frozen=frozen)
    ]

  def prepare(self, mesh: Mesh, abstract: TrainState, run_dir: str) -> Evaluate:
    """See `evaluate`, `summary` and `Objective.show`."""
    objective, batches = self.objective, self.batches()
    shows = objective.samples_title is not None
    samples = self._samples(run_dir, batches) if shows else lambda _: []

    def found(parameters: Parameters, frozen: Parameters | None) -> Evaluated:
      placed = step_lib.placement(abstract.parameters, frozen)
      step = step_lib.compile_evaluation_step(objective, mesh, placed)
      values = evaluate(
        objective,
        lambda batch: step(parameters, batch, frozen),
        itertools.islice(batches, self.limit),
        mesh,
      )
      return Evaluated(values, summary(objective, values), samples(parameters))

    return found

  def _samples(
    self, run_dir: str, batches: Iterable[Batch]
  ) -> Callable[[Parameters], list[str]]:
    """Returns what shows a few rows; nothing without text or vocabulary."""
    sample = jax.jit(self.objective.sample)

    @functools.cache
    def text() -> tuple[dict[str, np.ndarray], list[str]]:
      # Read when first needed, since a run can end before.
      rows, vocabulary = processes.from_first(
        lambda: (
          _few_rows(next(iter(batches), {})),
          model_file.shown_tokens(run_dir),
        )
      )
      return {key: np.array(*x) for key, x in rows.items()}, vocabulary

    def show(parameters: Parameters) -> list[str]:
      batch, vocabulary = text()
      if not batch or not vocabulary:
        return []
      sampled = multihost_utils.process_allgather(
        sample(parameters, batch), tiled=True
      )
      return self.objective.show(sampled, batch, vocabulary)

    return show


def evaluate(
  objective: Objective,
  step: Callable[[Any], Terms],
  batches: Iterable[Batch],
  mesh: Mesh,
) -> dict[str, float]:
  """Returns the means of the objective's terms over all batches.

  For each of the objective's answers it adds the best that is possible without
  reading the text: `NAME_baseline`, the accuracy of always giving the answer
  that is most frequent in these very batches, and `NAME_loss_baseline`, the
  loss of giving each answer the probability of its frequency, their entropy.

  Args:
    objective: has the answers.
    step: gives the terms of a batch that is placed on the mesh.
    batches: host batches; rows without weight do not count. If processes have
      different numbers of batches, empty ones are added.
    mesh: the devices to evaluate on.
  """
  totals = Totals()
  counts: dict[str, np.ndarray] = {}  # of each answer
  for batch in _as_often(batches):
    totals.add(jax.device_get(step(partitioning.put_batch(batch, mesh))))
    for name, (right, weights) in objective.answers(batch).items():
      count = np.bincount(right.ravel(), weights.ravel())
      counts[name] = _total(counts.get(name, []), count)
  values = totals.means()
  for name, mine in counts.items():
    everyones = _total(*processes.gather(mine.tolist()))
    if everyones.any():
      share = everyones[everyones > 0] / everyones.sum()
      entropy = np.sum(share * np.log(1 / share))  # no -0.0
      values[f'{name}_baseline'] = float(np.float32(share.max()))
      values[f'{name}_loss_baseline'] = float(np.float32(entropy))
  return values


def _total(*counts: Any) -> np.ndarray:
  """Returns the sum of counts of ids; shorter ones are padded with zeros."""
  total = np.zeros(max(map(len, counts)))
  for count in counts:
    total[: len(count)] += count
  return total


def _as_often(batches: Iterable[Batch]) -> Iterator[Batch]:
  """Yields equally often on all processes, at the end rows without weight."""
  if processes.count() == 1:
    yield from batches
    return
  for batch in itertools.chain(batches, itertools.repeat(None)):
    mine = {k: (v.shape, v.dtype.name) for k, v in (batch or {}).items()}
    shapes = next(filter(None, processes.gather(mine)), None)
    if shapes is None:
      return
    yield batch or {key: np.zeros(*shape) for key, shape in shapes.items()}


# Kind of metric -> what it is called, and its baseline.
_KINDS = {
  'loss': ('loss', 'frequencies alone'),
  'accuracy': ('accuracy', 'always the most frequent answer'),
  'auc': ('AUC', ''),
}


def summary(objective: Objective, values: Mapping[str, float]) -> str:
  """Returns an evaluation as one line, with baselines beside the metrics."""
  parts = []
  for loss in objective.losses:
    if loss not in values:
      continue
    name, told = loss.removesuffix('_loss'), []
    for kind, (called, how) in _KINDS.items():
      metric = loss if kind == 'loss' else f'{name}_{kind}'
      if metric not in values:
        continue
      text = f'{called} {values[metric]:.4f}'
      best, chance = diagrams.baseline(metric), objective.chances.get(metric)
      if best in values:
        text += f' ({how}: {values[best]:.4f})'
      elif chance is not None:
        text += f' (guessing: {chance:.4f})'
      told.append(text)
    parts.append(f'{objective.titles.get(name, name)} {", ".join(told)}')
  return '; '.join(parts)


def _few_rows(batch: Batch) -> dict[str, tuple[list, str]]:
  """Takes 4 at equal distances: neighbours often come from one document.

  Returns:
    key -> (values as nested lists, name of their dtype).
  """
  return {
    key: (array[:: max(1, len(array) // 4)][:4].tolist(), array.dtype.name)
    for key, array in batch.items()
  }
