"""Held-out loss and accuracy, their baselines, and a few filled-in masks.

held_out = evaluation.HeldOut(objective, batches)
evaluate = held_out.prepare(mesh, abstract_state)
values = evaluate(parameters)
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from bertjax.batch import Batch
from bertjax.parallel import partitioning, processes
from bertjax.runs import layout
from bertjax.training import step as step_lib
from bertjax.training.state import TrainState
from bertjax.training.totals import Totals


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """An evaluation on held-out text, as `loop.train` takes it.

  Attributes:
    objective: see `objectives`.
    batches: makes the iterable of its batches.
    limit: the most batches; None: all.
  """

  objective: Callable
  batches: Callable[[], Iterable[Batch]]
  limit: int | None = None

  def prepare(
    self, mesh: Mesh, abstract: TrainState
  ) -> Callable[..., dict[str, float]]:
    """Returns a function of parameters that gives name -> value."""
    batches = self.batches()
    step = step_lib.compile_evaluation_step(self.objective, mesh, abstract)
    return lambda parameters: evaluate(
      step, parameters, itertools.islice(batches, self.limit), mesh
    )

  def summary(self, values: dict[str, float]) -> str:
    """Returns one line of what was found."""
    return summary(values)

  def samples(self, run_dir: str) -> Callable[..., list[str]]:
    """Returns a function of parameters that gives a few texts, their masks
    filled in as [guess] or [guess≠right]; none without text or vocabulary."""
    model = self.objective.model
    guess = jax.jit(
      lambda parameters, batch: jnp.argmax(
        model.apply({'params': parameters}, batch, train=False)['mlm_logits'],
        -1,
      )
    )

    @functools.cache
    def text():  # when first asked for, since a run can end before
      rows, vocabulary = processes.from_first(
        lambda: (
          _few_rows(next(iter(self.batches()), None), 4),
          _read(os.path.join(run_dir, layout.VOCABULARY)),
        )
      )
      return rows and {
        key: np.array(values, dtype) for key, (values, dtype) in rows.items()
      }, vocabulary

    def fill(parameters):
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
  step, parameters, batches: Iterable[Batch], mesh: Mesh
) -> dict[str, float]:
  """Returns the means of the objective's terms over all batches.

  Beside them `mlm_baseline` and `nsp_baseline`: the accuracy of always giving
  the answer that is most frequent in these very batches, so the best that any
  constant answer can reach.

  Args:
    step: from `step.compile_evaluation_step`.
    parameters: of the model.
    batches: host batches; rows without weight do not count. Where processes
      have different numbers of them, empty ones are added.
    mesh: that the step was compiled for.
  """
  totals = Totals()
  target_counts = np.zeros(0)
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
  """Yields equally often on all processes, in the end rows without weight."""
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
  """Returns the sum over all processes of counts of ids; shorter ones end
  in zeros."""
  everyones = processes.gather(counts.tolist())
  total = np.zeros(max(map(len, everyones)))
  for counts in everyones:
    total[: len(counts)] += counts
  return total


def summary(values: dict[str, float]) -> str:
  """Returns one line of an evaluation, baselines beside accuracies."""
  parts = []
  for task, name in (('mlm', 'masked LM'), ('nsp', 'next sentence')):
    if f'{task}_loss' in values:
      parts.append(
        f'{name} loss {values[f"{task}_loss"]:.4f}, accuracy '
        f'{values[f"{task}_accuracy"]:.4f} (always the most frequent '
        f'answer: {values[f"{task}_baseline"]:.4f})'
      )
  return '; '.join(parts)


def _few_rows(batch: Batch | None, rows: int) -> dict[str, tuple] | None:
  """Takes rows from all over: neighbours often come from one document.

  Returns:
    key -> values as lists, name of their dtype.
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
  """Returns texts with each [MASK] as `[guess]`, the right word if wrong.

  Args:
    guesses_BP: int[B, P], the likeliest token of each target.
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
