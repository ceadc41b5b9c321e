"""What is minimised: in pretraining, and for each kind of task.

    objective = objectives.MaskedLanguageModel(model)
    terms = objective(parameters, batch, rng, train=True)
    terms['mlm_loss']      # (sum over masked tokens, their number)

An objective returns sums and weights, never means, so that the loss is the same
for any split of the batch. Source: Devlin et al. 2018, section 3.1.
"""

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from bertjax.errors import UserError
from bertjax.models import heads
from bertjax.training import log_normalizer
from bertjax.training.state import Parameters

# A batch on devices, see `bertjax.batch`.
DeviceBatch = Mapping[str, jax.Array]
Terms = dict[str, tuple[jax.Array, jax.Array]]


class Objective(Hashable, Protocol):
  """What a training step minimises."""

  @property
  def model(self) -> nn.Module: ...

  @property
  def losses(self) -> tuple[str, ...]:
    """The terms that are minimised; each is divided by its own weight."""

  def weights(self, batch: DeviceBatch) -> dict[str, jax.Array]:
    """Returns what each loss is divided by, summed over the whole batch."""

  def __call__(
    self,
    parameters: Parameters,
    batch: DeviceBatch,
    rng: jax.Array | None,
    train: bool,
  ) -> Terms:
    """Returns name -> (sum, weight) of losses and other metrics.

    Args:
      parameters: the model's.
      batch: see `bertjax.batch`; may be a part of the global batch.
      rng: key for dropout; None if `train` is False.
      train: whether dropout is on.
    """


def apply_model(
  model: nn.Module,
  parameters: Parameters,
  batch: DeviceBatch,
  rng: jax.Array | None = None,
  train: bool = False,
) -> dict[str, jax.Array]:
  """Returns the outputs of a model of `models.bert`.

  The first of the model's random streams, dropout, gets `rng` itself.
  """
  rngs = None
  if rng is not None:
    rngs = {
      name: jax.random.fold_in(rng, number) if number else rng
      for number, name in enumerate(model.random_streams)
    }
  outputs: Any = model.apply(
    {'params': parameters}, batch, train=train, rngs=rngs
  )
  return outputs


def cross_entropy(
  logits_XC: jax.Array, labels_X: jax.Array, weights_X: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns the sums of loss, of correct answers, and of weights.

      >>> logits_XC, labels_X = jnp.zeros((2, 4)), jnp.array([0, 1])
      >>> sums = cross_entropy(logits_XC, labels_X, weights_X=jnp.ones(2))
      >>> [round(float(x), 3) for x in sums]  # twice log 4; 1 of 2 right
      [2.773, 1.0, 2.0]

  Args:
    logits_XC: float[..., C].
    labels_X: int32[...], in [0, C).
    weights_X: float32[...].

  Returns:
    float32[] three times: nats, number right, number counted.
  """
  # Log-sum-exp in float32: bfloat16 has 8 bits for a sum over the vocabulary.
  logits_XC = logits_XC.astype(jnp.float32)
  log_normalizer_X, best_X = log_normalizer.and_best(logits_XC)
  answer_X = jnp.take_along_axis(logits_XC, labels_X[..., None], -1)[..., 0]
  right_X = (best_X == labels_X).astype(jnp.float32)
  return (
    jnp.sum((log_normalizer_X - answer_X) * weights_X),
    jnp.sum(right_X * weights_X),
    jnp.sum(weights_X),
  )


@dataclasses.dataclass(frozen=True)
class MaskedLanguageModel:
  """Masked-LM loss plus, if the model has the head, next-sentence loss.

  Attributes:
    model: a `BertForPreTraining`.
    chunks: the predictions of a row are scored in this many parts, one after
      the other and again in the backward pass, so that only one part's logits
      are in memory. Useful if these are what does not fit.
  """

  model: nn.Module
  chunks: int = 1

  losses = ('mlm_loss', 'nsp_loss')

  def __post_init__(self) -> None:
    if not isinstance(self.chunks, int) or self.chunks < 1:
      raise UserError(
        f'expected 1 chunk or more, got {self.chunks!r}; set '
        'MaskedLanguageModel.chunks'
      )

  def weights(self, batch: DeviceBatch) -> dict[str, jax.Array]:
    """Returns the number of predicted tokens and of sentence pairs."""
    weights = {'mlm_loss': jnp.sum(batch['weights'])}
    if self.model.next_sentence:
      weights['nsp_loss'] = jnp.sum(batch['pair_weights'])
    return weights

  def __call__(
    self,
    parameters: Parameters,
    batch: DeviceBatch,
    rng: jax.Array | None,
    train: bool,
  ) -> Terms:
    """Returns losses, accuracies and, if `train`, `data_statistics`."""
    outputs = apply_model(self.model, parameters, batch, rng, train)
    if self.chunks == 1:
      loss, right, weight = cross_entropy(
        outputs['mlm_logits'], batch['targets'], batch['weights']
      )
    else:  # nothing reads mlm_logits then, so XLA leaves them out
      loss, right, weight = self._in_chunks(
        parameters, outputs['hidden'], batch
      )
    terms = {'mlm_loss': (loss, weight), 'mlm_accuracy': (right, weight)}
    if self.model.next_sentence:
      loss, right, weight = cross_entropy(
        outputs['nsp_logits'], batch['pair_labels'], batch['pair_weights']
      )
      terms |= {'nsp_loss': (loss, weight), 'nsp_accuracy': (right, weight)}
    return terms | data_statistics(batch) if train else terms

  def _in_chunks(
    self, parameters: Parameters, hidden_BLD: jax.Array, batch: DeviceBatch
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the sums of `cross_entropy`."""
    padding = -batch['targets'].shape[1] % self.chunks
    head = heads.MaskedLanguageModelHead(self.model.config)
    table_VD = parameters['embeddings']['token']['embedding']

    @jax.checkpoint
    def add_part(sums, part):
      positions_BC, targets_BC, weights_BC = part
      logits_BCV: Any = head.apply(
        {'params': parameters['mlm_head']},
        heads.gather_positions(hidden_BLD, positions_BC),
        table_VD,
      )
      found = cross_entropy(logits_BCV, targets_BC, weights_BC)
      return jax.tree.map(jnp.add, sums, found), None

    parts = tuple(
      jnp.pad(batch[key], ((0, 0), (0, padding)))
      .reshape(len(batch[key]), self.chunks, -1)
      .swapaxes(0, 1)
      for key in ('target_positions', 'targets', 'weights')
    )
    sums, _ = jax.lax.scan(add_part, (jnp.zeros(()),) * 3, parts)
    return sums


def data_statistics(batch: DeviceBatch) -> Terms:
  """Returns how a batch was masked and paired, to monitor the data.

  `masked_fraction` of the real tokens are predicted; `visible_fraction` of
  those are unchanged in the text (0.1 in BERT, which keeps a tenth);
  `random_pair_fraction` of the pairs have a random sentence B.
  """
  weights_BP, pair_weights_BS = batch['weights'], batch['pair_weights']
  shown_BP = jnp.take_along_axis(
    batch['tokens'], batch['target_positions'], axis=1
  )
  visible_BP = weights_BP * (shown_BP == batch['targets'])
  masked, pairs = jnp.sum(weights_BP), jnp.sum(pair_weights_BS)
  return {
    'masked_fraction': (
      masked,
      jnp.sum(batch['segments'] > 0, dtype=jnp.float32),
    ),
    'visible_fraction': (jnp.sum(visible_BP), masked),
    'random_pair_fraction': (
      jnp.sum(pair_weights_BS * batch['pair_labels']),
      pairs,
    ),
  }


@dataclasses.dataclass(frozen=True)
class TaskObjective:
  """The loss of one kind of task.

  Attributes:
    model: a module that returns `logits`, such as `BertForTask`.
    loss: (logits, labels, segments) -> losses in the shape of `label_weights`,
      all float32.
    class_weights: of each class, if labels are their ids; None: 1.
  """

  model: nn.Module
  loss: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
  class_weights: tuple[float, ...] | None = None

  losses = ('loss',)

  def weights(self, batch: DeviceBatch) -> dict[str, jax.Array]:
    """Returns the number of labels, or the sum of their classes' weights."""
    return {'loss': jnp.sum(self._weights(batch))}

  def __call__(
    self,
    parameters: Parameters,
    batch: DeviceBatch,
    rng: jax.Array | None,
    train: bool,
  ) -> Terms:
    """Returns the one term `loss`."""
    logits = apply_model(self.model, parameters, batch, rng, train)['logits']
    losses = self.loss(logits, batch['labels'], batch['segments'])
    weights = self._weights(batch)
    return {'loss': (jnp.sum(losses * weights), jnp.sum(weights))}

  def _weights(self, batch: DeviceBatch) -> jax.Array:
    if self.class_weights is None:
      return batch['label_weights']
    return (
      batch['label_weights']
      * jnp.asarray(self.class_weights, jnp.float32)[batch['labels']]
    )
