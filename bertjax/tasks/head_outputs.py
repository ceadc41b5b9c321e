"""What the heads of fine-tuned tasks say of new text: classes, tags, answers.

    task_heads.classify(task, logits)     # [{'label': 'positive', ...}]
    task_heads.probabilities('classes', logits)

Source: ours.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bertjax.errors import UserError

# Kind of task -> the head that it takes, a name in `models.bert.TASK_HEADS`.
# May be changed from outside; a run of fine-tuning keeps the name of its own.
HEADS = {
  'classes': 'classifier',
  'number': 'classifier',
  'labels': 'classifier',
  'tags': 'tag_head',
  'spans': 'span_head',
}


def outputs(kind: str, labels: Sequence[str]) -> int:
  """Returns C: how many numbers the head of a kind gives."""
  return {'number': 1, 'spans': 2}.get(kind, len(labels))


def check(task: Mapping | None, kinds: Sequence[str], origin: str) -> None:
  """Raises UserError where a model was not fine-tuned for one of `kinds`."""
  if task is None or task['kind'] not in kinds:
    has = (
      'no head of a task'
      if task is None
      else (f'the head of a task of {task["kind"]}')
    )
    raise UserError(
      f'{origin} has {has}, and one of {" or ".join(kinds)} is '
      'needed; choose a run of fine-tuning for that'
    )


def probabilities(kind: str, logits: np.ndarray) -> np.ndarray:
  """Returns float32[n, C] of logits [n, C]; of 'number' [n], as they are."""
  if kind == 'number':
    return logits[:, 0]
  if kind == 'labels':
    return 1 / (1 + np.exp(-logits))
  powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return powers / powers.sum(axis=-1, keepdims=True)


def describe(task: Mapping, found: np.ndarray) -> Iterator[dict]:
  """Yields what is said of each text, of what `probabilities` gives.

  'classes': {'label': 'b', 'scores': {'a': 0.1, 'b': 0.9}}; 'labels': the same
  with a list of those above one half in 'labels'; 'number': {'value': 2.5}.
  """
  for values in found:
    if task['kind'] == 'number':
      yield {'value': float(values)}
      continue
    scores = dict(zip(task['labels'], map(float, values), strict=True))
    if task['kind'] == 'labels':
      yield {'labels': [x for x in scores if scores[x] > 0.5], 'scores': scores}
    else:
      yield {'label': max(scores, key=scores.get), 'scores': scores}
