"""The hyper-parameters of fine-tuning, checked.

settings = Settings(epochs=3, class_weights='balanced')
weights = class_weights(settings.class_weights, task, rows)

>>> Settings(evaluations=0)
Traceback (most recent call last):
  ...
bertjax.errors.UserError: expected a number above 0, got 0; set EVALUATIONS
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bertjax.errors import UserError
from bertjax.tasks.labelled_batches import Rows
from bertjax.tasks.specs import Task
from bertjax.text import context_windows


@dataclasses.dataclass(frozen=True)
class Settings:
  """How to train; if not stated otherwise, None means the task's own value.

  Attributes:
    epochs: how often each training example is seen; need not be whole.
    batch_size: examples of an update, over all devices.
    length: the most tokens of an example.
    stride: tokens from the start of one window of a context to the next.
    learning_rate: the peak.
    dropout: rate in the encoder.
    head_dropout: rate before the head; None: that of the encoder.
    layer_decay: see `layerwise.scale`.
    frozen_layers: see `layerwise.scale`.
    fresh_layers: how many of the topmost layers are initialised again, see
      `layerwise`.
    class_weights: weight of each class in the loss, in the order of their
      names; 'balanced': by the inverse of its frequency in training; None: 1.
    pack: whether short examples share a row.
    select: keep the parameters of the 'best' evaluation, or of the 'last' step.
    patience: stop after this many evaluations that were no better; None: never.
    evaluations: how many there are per epoch.
    log_steps: see `loop.train`.
  """

  epochs: float | None = None
  batch_size: int | None = None
  length: int | None = None
  stride: int = context_windows.STRIDE
  learning_rate: float | None = None
  dropout: float = 0.1
  head_dropout: float | None = None
  layer_decay: float = 1.0
  frozen_layers: int | None = None
  fresh_layers: int = 0
  class_weights: str | Sequence[float] | None = None
  pack: bool = False
  select: str = 'best'
  patience: int | None = None
  evaluations: int = 1
  log_steps: int = 100

  def __post_init__(self):
    if self.select not in ('best', 'last'):
      raise UserError(
        f"expected 'best' or 'last', got {self.select!r}; set SELECT"
      )
    if self.patience is not None and (
      self.select == 'last' or not self.patience > 0
    ):
      raise UserError(
        f'PATIENCE {self.patience} with SELECT {self.select!r}: early '
        "stopping takes a patience of 1 or more, and SELECT 'best'"
      )
    for name in (
      'epochs',
      'batch_size',
      'length',
      'learning_rate',
      'stride',
      'evaluations',
      'log_steps',
    ):
      value = getattr(self, name)
      if value is not None and not value > 0:
        raise UserError(
          f'expected a number above 0, got {value}; set {name.upper()}'
        )


def class_weights(
  wanted: str | Sequence[float] | None, task: Task, rows: Rows
) -> tuple[float, ...] | None:
  """Returns the weight of each class; see `Settings.class_weights`.

  'balanced' is n / (C * n_c), as in scikit-learn.
  """
  if wanted is None:
    return None
  if task.kind not in ('classes', 'tags'):
    raise UserError(
      f'a task of {task.kind} takes no CLASS_WEIGHTS; set them to None'
    )
  if wanted == 'balanced':
    labels = np.asarray(rows.labels)
    counts = np.bincount(labels[labels >= 0], minlength=task.outputs)
    return tuple(
      float(counts.sum() / (len(counts) * max(1, n))) for n in counts
    )
  if not isinstance(wanted, list | tuple) or (
    len(wanted) != task.outputs or min(wanted) < 0
  ):
    raise UserError(
      f"expected 'balanced' or a weight for each of {', '.join(task.labels)}, "
      f'got {wanted}; set CLASS_WEIGHTS'
    )
  return tuple(map(float, wanted))
