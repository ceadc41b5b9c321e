"""Held-out loss and accuracy, their baselines, and a few filled-in masks.

    values = evaluation.evaluate(step, parameters, batches, mesh)
    print(evaluation.filled_masks(model, parameters, batch, vocabulary))
"""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from bertjax import partitioning
from bertjax.batch import Batch
from bertjax.training.metrics import Totals


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
    batches: host batches; rows without weight do not count.
    mesh: that the step was compiled for.
  """
  totals = Totals()
  target_counts = np.zeros(0)
  label_counts = np.zeros(2)
  for batch in batches:
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
  for name, counts in (('mlm', target_counts), ('nsp', label_counts)):
    if f'{name}_accuracy' in values:
      values[f'{name}_baseline'] = float(
          np.float32(counts.max() / counts.sum())
      )
  return values


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


def filled_masks(
    model, parameters, batch: Batch, vocabulary: Sequence[str], rows: int = 4
) -> str:
  """Returns sentences with each [MASK] as `[guess]`, the right word if wrong.

  Args:
    model: gives `mlm_logits`.
    parameters: of the model.
    batch: masked sequences.
    vocabulary: id -> token.
    rows: how many sequences to show.
  """
  # Rows from all over the batch: neighbours often come from one document.
  step = max(1, len(batch['tokens']) // rows)
  batch = {
      key: np.asarray(array)[::step][:rows] for key, array in batch.items()
  }
  guesses_BP = np.asarray(
      jax.jit(
          lambda p, b: jnp.argmax(
              model.apply({'params': p}, b, train=False)['mlm_logits'], -1
          )
      )(parameters, batch)
  )
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
        right, said = vocabulary[target], vocabulary[guess]
        words[column] = f'[{said}]' if said == right else f'[{said}≠{right}]'
    lines.append(' '.join(words).replace(' ##', ''))
  return '\n'.join(line for line in lines if line)
