"""The loss of a task, for fine-tuning.

objective = TaskObjective(
    BertForTask(config, 'classifier', 2), kinds.KINDS['classes'].loss)
objective(parameters, batch, rng, train=True)    # {'loss': (sum, weight)}
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bertjax import batch as batch_lib
from bertjax.batch import Batch
from bertjax.training.abstract_objective import (
  DeviceBatch,
  Objective,
  apply_model,
)


@dataclasses.dataclass(frozen=True)
class TaskObjective(Objective):
  """The loss of one kind of task.

  Attributes:
    model: a module that returns `logits`, such as `BertForTask`.
    loss: (logits, labels, segments) -> losses in the shape of `label_weights`,
      all float32.
    label: dimensions and dtype of `labels`, see `bertjax.batch`;
      `label_weights` have the first two dimensions, in float32.
    class_weights: of each class, if labels are their ids; None: 1.
    metrics: of evaluations, for the curves.
    kind: of the task.
  """

  model: nn.Module
  loss: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
  label: batch_lib.Key = ('BS', np.int32)
  class_weights: tuple[float, ...] | None = None
  metrics: tuple[str, ...] = ()
  kind: str | None = None

  keys = (*batch_lib.TASK, 'labels', 'label_weights')
  losses = {'loss': 1}
  titles = {
    'loss': 'total loss',
    'f1_macro': 'macro F1',
    'f1_micro': 'micro F1',
    'matthews': 'Matthews correlation',
    'pearson': 'Pearson correlation',
    'spearman': 'Spearman correlation',
  }

  @property
  def name(self) -> str:
    """'TaskObjective of classes'."""
    return 'TaskObjective' + (f' of {self.kind}' if self.kind else '')

  @property
  def panels(self) -> tuple[str, ...]:
    """The loss and the metrics."""
    return ('loss', *self.metrics)

  def weights(self, batch: DeviceBatch) -> dict[str, jax.Array]:
    """Returns the number of labels, or the sum of their classes' weights."""
    return {'loss': jnp.sum(self._weights(batch))}

  def __call__(self, parameters, batch, rng, train, frozen=None):
    """Returns the one term `loss`."""
    logits = apply_model(self.model, parameters, batch, rng, train)['logits']
    losses = self.loss(logits, batch['labels'], batch['segments'])
    weights = self._weights(batch)
    return {'loss': (jnp.sum(losses * weights), jnp.sum(weights))}

  def check_batch(self, batch: Batch) -> None:
    """Raises UserError if a batch is not one of this kind of task."""
    weights = self.label[0][:2], np.float32
    labels = {'labels': self.label, 'label_weights': weights}
    batch_lib.check(batch, self.keys, self.name, labels)

  def _weights(self, batch: DeviceBatch) -> jax.Array:
    if self.class_weights is None:
      return batch['label_weights']
    of_classes = jnp.asarray(self.class_weights, jnp.float32)
    return batch['label_weights'] * of_classes[batch['labels']]
