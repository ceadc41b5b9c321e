"""The heads of fine-tuned tasks, and what their logits say about a text.

>>> found = probabilities('classes', np.zeros((1, 2)))
>>> next(describe({'kind': 'classes', 'labels': ['a', 'b']}, found))
{'label': 'a', 'scores': {'a': 0.5, 'b': 0.5}}
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bertjax.errors import UserError

# Kind of task -> its head, a name in `models.bert.TASK_HEADS`. Entries may be
# replaced; a fine-tuning run records the name of its own head.
HEADS = {
  'classes': 'classifier',
  'number': 'classifier',
  'labels': 'classifier',
  'tags': 'tag_head',
  'spans': 'span_head',
}


def outputs(kind: str, labels: Sequence[str]) -> int:
  """Returns C, how many numbers the head of a kind of task gives."""
  return {'number': 1, 'spans': 2}.get(kind, len(labels))


def check(
  task: Mapping[str, Any] | None, kinds: Sequence[str], origin: str
) -> None:
  """Raises UserError if a model was not fine-tuned for one of `kinds`.

  Args:
    task: the content of its task.json, at least `kind`; None: it has no head.
    kinds: keys of `HEADS`.
    origin: where the model comes from, for the message.
  """
  if task is None or task['kind'] not in kinds:
    has = (
      'no head of a task'
      if task is None
      else (f'the head of a task of {task["kind"]}')
    )
    raise UserError(
      f'{origin} has {has}, and one of {" or ".join(kinds)} is '
      'needed; choose a run that was fine-tuned for that'
    )


def probabilities(kind: str, logits: np.ndarray) -> np.ndarray:
  """Returns float[n, C] from logits of that shape; of 'number', values [n]."""
  if kind == 'number':
    return logits[:, 0]
  if kind == 'labels':
    return 1 / (1 + np.exp(-logits))
  powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return powers / powers.sum(axis=-1, keepdims=True)


def describe(
  task: Mapping[str, Any], found: np.ndarray
) -> Iterator[dict[str, Any]]:
  """Yields a description of each text from the output of `probabilities`.

  'classes': {'label': 'b', 'scores': {'a': 0.1, 'b': 0.9}}; 'labels': the same,
  but 'labels' lists all above one half; 'number': {'value': 2.5}.
  """
  for values in found:
    if task['kind'] == 'number':
      yield {'value': float(values)}
      continue
    scores = dict(zip(task['labels'], map(float, values), strict=True))
    if task['kind'] == 'labels':
      yield {'labels': [x for x in scores if scores[x] > 0.5], 'scores': scores}
    else:
      yield {'label': max(scores, key=scores.__getitem__), 'scores': scores}
