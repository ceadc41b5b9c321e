"""Held-out loss and accuracy, their baselines, and a few filled-in masks.

    held_out = evaluation.HeldOut(objective, batches)
    evaluate = held_out.prepare(mesh, abstract_state)
    values = evaluate(parameters)

`Evaluation` is what `loop.train` takes; `HeldOut` is that of pretraining.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from bertjax.batch import Batch
from bertjax.parallel import partitioning, processes
from bertjax.runs import layout
from bertjax.training import step as step_lib
from bertjax.training.objectives import Objective, Terms, apply_model
from bertjax.training.state import Parameters, TrainState
from bertjax.training.totals import Totals


class Evaluation(Protocol):
  """What `loop.train` needs of an evaluation."""

  def prepare(
    self, mesh: Mesh, abstract: TrainState
  ) -> Callable[[Parameters], Mapping[str, float]]:
    """Returns a function from parameters to name -> value."""

  def summary(self, values: Mapping[str, float]) -> str:
    """Returns these values as one line."""

  def samples(self, run_dir: str) -> Callable[[Parameters], list[str]]:
    """Returns a function from parameters to texts that show what they do."""


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """An `Evaluation` on held-out text.

  Attributes:
    objective: a `MaskedLanguageModel`.
    batches: makes the iterable of host batches.
    limit: at most this many batches; None: all.
  """

  objective: Objective
  batches: Callable[[], Iterable[Batch]]
  limit: int | None = None

  def prepare(
    self, mesh: Mesh, abstract: TrainState
  ) -> Callable[[Parameters], dict[str, float]]:
    """Returns a function from parameters to name -> value; see `evaluate`."""
    batches = self.batches()
    step = step_lib.compile_evaluation_step(self.objective, mesh, abstract)
    return lambda parameters: evaluate(
      step, parameters, itertools.islice(batches, self.limit), mesh
    )

  def summary(self, values: Mapping[str, float]) -> str:
    """Returns one line; see the function `summary`."""
    return summary(values)

  def samples(self, run_dir: str) -> Callable[[Parameters], list[str]]:
    """Returns a function from parameters to a few texts with their masks filled
    in as [guess] or [guess≠right]; to none without text or vocabulary."""
    model = self.objective.model
    guess = jax.jit(
      lambda parameters, batch: jnp.argmax(
        apply_model(model, parameters, batch)['mlm_logits'], -1
      )
    )

    @functools.cache
    def text() -> tuple[dict[str, np.ndarray] | None, list[str] | None]:
      # Read when first needed, since a run can end before.
      rows, vocabulary = processes.from_first(
        lambda: (
          _few_rows(next(iter(self.batches()), None), 4),
          _read(os.path.join(run_dir, layout.VOCABULARY)),
        )
      )
      return rows and {
        key: np.array(values, dtype) for key, (values, dtype) in rows.items()
      }, vocabulary

    def fill(parameters: Parameters) -> list[str]:
      batch, vocabulary = text()
      if batch is None or not vocabulary:
        return []
      guesses_BP = multihost_utils.process_allgather(
        guess(parameters, batch), tiled=True
      )
      return filled_masks(guesses_BP, batch, vocabulary)

    return fill


def _read(path: str) -> list[str] | None:
  if not os.path.exists(path):
    return None
  with open(path, encoding='utf-8') as file:
    return file.read().split('\n')


def evaluate(
  step: Callable[[Parameters, Mapping[str, jax.Array]], Terms],
  parameters: Parameters,
  batches: Iterable[Batch],
  mesh: Mesh,
) -> dict[str, float]:
  """Returns the means of the objective's terms over all batches.

  It adds `mlm_baseline` and `nsp_baseline`: the accuracy of always giving the
  answer that is most frequent in these very batches, which is the best that any
  constant answer can reach.

  Args:
    step: from `step.compile_evaluation_step`, for the same mesh.
    parameters: of the model.
    batches: host batches; rows without weight do not count. If processes have
      different numbers of batches, empty ones are added.
    mesh: the devices to evaluate on.
  """
  totals = Totals()
  counts: np.ndarray
  target_counts: np.ndarray = np.zeros(0)
  label_counts = np.zeros(2)
  for batch in _as_often(batches):
    totals.add(
      jax.device_get(step(parameters, partitioning.put_batch(batch, mesh)))
    )
    counts = np.bincount(batch['targets'].ravel(), batch['weights'].ravel())
    if len(counts) > len(target_counts):
      counts, target_counts = target_counts, counts
    target_counts[: len(counts)] += counts
    label_counts += np.bincount(
      batch['pair_labels'].ravel(), batch['pair_weights'].ravel(), 2
    )
  values = totals.means()
  for name, counts in (
    ('mlm', _sum(target_counts)),
    ('nsp', _sum(label_counts)),
  ):
    if f'{name}_accuracy' in values:
      values[f'{name}_baseline'] = float(
        np.float32(counts.max() / counts.sum())
      )
  return values


def _as_often(batches: Iterable[Batch]) -> Iterator[Batch]:
  """Yields equally often on all processes, at the end rows without weight."""
  if processes.count() == 1:
    yield from batches
    return
  iterator = iter(batches)
  while True:
    batch = next(iterator, None)
    shapes = [
      shape
      for shape in processes.gather(
        batch and {k: (v.shape, v.dtype.name) for k, v in batch.items()}
      )
      if shape
    ]
    if not shapes:
      return
    yield batch or {key: np.zeros(*shape) for key, shape in shapes[0].items()}


def _sum(counts: np.ndarray) -> np.ndarray:
  """Returns the sum of all processes' counts of ids; shorter counts are padded
  with zeros."""
  everyones = processes.gather(counts.tolist())
  total = np.zeros(max(map(len, everyones)))
  for counts in everyones:
    total[: len(counts)] += counts
  return total


def summary(values: Mapping[str, float]) -> str:
  """Returns an evaluation as one line, with baselines beside accuracies.

  >>> summary({'mlm_loss': 2.5, 'mlm_accuracy': 0.5, 'mlm_baseline': 0.1})[:40]
  'masked LM loss 2.5000, accuracy 0.5000 ('
  """
  parts = []
  for task, name in (('mlm', 'masked LM'), ('nsp', 'next sentence')):
    if f'{task}_loss' in values:
      parts.append(
        f'{name} loss {values[f"{task}_loss"]:.4f}, accuracy '
        f'{values[f"{task}_accuracy"]:.4f} (always the most frequent '
        f'answer: {values[f"{task}_baseline"]:.4f})'
      )
  return '; '.join(parts)


def _few_rows(
  batch: Batch | None, rows: int
) -> dict[str, tuple[list, str]] | None:
  """Takes rows at equal distances: neighbours often come from one document.

  Returns:
    key -> (values as nested lists, name of their dtype).
  """
  if batch is None:
    return None
  step = max(1, len(batch['tokens']) // rows)
  return {
    key: (array[::step][:rows].tolist(), array.dtype.name)
    for key, array in batch.items()
  }


def filled_masks(
  guesses_BP: np.ndarray, batch: Batch, vocabulary: Sequence[str]
) -> list[str]:
  """Returns texts with each [MASK] as `[guess]`, or `[guess≠right]` if wrong.

      >>> batch = {'tokens': np.array([[0, 3, 1]]), 'segments': np.ones((1, 3)),
      ...          'target_positions': np.array([[1]]),
      ...          'targets': np.array([[2]]), 'weights': np.ones((1, 1))}
      >>> filled_masks([[1]], batch, ['a', 'c', 'b', '[MASK]'])
      ['a [c≠b] c']

  Args:
    guesses_BP: int[B, P], the likeliest token for each target.
    batch: masked sequences.
    vocabulary: id -> token.
  """
  lines = []
  for row, guesses in enumerate(guesses_BP):
    words = [vocabulary[i] for i in batch['tokens'][row]]
    words = words[: int((batch['segments'][row] > 0).sum())]
    for column, target, guess, weight in zip(
      batch['target_positions'][row],
      batch['targets'][row],
      guesses,
      batch['weights'][row],
      strict=True,
    ):
      if weight:
        right = vocabulary[target]
        said = vocabulary[guess] if guess < len(vocabulary) else '[UNK]'
        words[column] = f'[{said}]' if said == right else f'[{said}≠{right}]'
    lines.append(' '.join(words).replace(' ##', ''))
  return [line for line in lines if line]
