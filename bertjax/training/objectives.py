"""What is minimised: in pretraining, and for each kind of task.

    objective = objectives.MaskedLanguageModel(model)
    terms = objective(parameters, batch, rng, train=True)
    terms['mlm_loss']      # (sum over masked tokens, their number)

An objective returns sums and weights, never means, so that the same loss comes
out of any split of the batch. Source: Devlin et al. 2018, section 3.1.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from bertjax.batch import Batch
from bertjax.errors import UserError
from bertjax.models import heads
from bertjax.training import log_normalizer

Terms = dict[str, tuple[jax.Array, jax.Array]]


def cross_entropy(
  logits_XC: jax.Array, labels_X: jax.Array, weights_X: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns the sums of loss, of correct answers, and of weights.

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
  """Masked-LM loss plus, where the model has the head, next-sentence loss.

  Attributes:
    model: a `BertForPreTraining`.
    chunks: parts that the predictions of a row are scored in, one after the
      other and once more in backward, so that only a part's logits are in
      memory. Pays where these are what does not fit.
  """

  model: nn.Module
  chunks: int = 1

  # The terms that are minimised; each is normalised by its own weight.
  losses = ('mlm_loss', 'nsp_loss')

  def __post_init__(self):
    if not isinstance(self.chunks, int) or self.chunks < 1:
      raise UserError(
        f'expected 1 chunk or more, got {self.chunks!r}; set '
        'MaskedLanguageModel.chunks'
      )

  def weights(self, batch: Batch) -> dict[str, jax.Array]:
    """Returns what each loss is divided by, summed over the whole batch."""
    weights = {'mlm_loss': jnp.sum(batch['weights'])}
    if self.model.next_sentence:
      weights['nsp_loss'] = jnp.sum(batch['pair_weights'])
    return weights

  def __call__(
    self, parameters, batch: Batch, rng: jax.Array | None, train: bool
  ) -> Terms:
    """Returns name -> (sum, weight) of losses and accuracies.

    Args:
      parameters: of the model.
      batch: see `bertjax.batch`.
      rng: key for dropout; None where train is False.
      train: whether dropout is on.
    """
    outputs = self.model.apply(
      {'params': parameters},
      batch,
      train=train,
      rngs={'dropout': rng} if train else None,
    )
    if self.chunks == 1:
      loss, right, weight = cross_entropy(
        outputs['mlm_logits'], batch['targets'], batch['weights']
      )
    else:  # those logits are then not asked for, and XLA leaves them out
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

  def _in_chunks(self, parameters, hidden_BLD, batch):
    """Returns what `cross_entropy` does."""
    padding = -batch['targets'].shape[1] % self.chunks
    head = heads.MaskedLanguageModelHead(self.model.config)
    table_VD = parameters['embeddings']['token']['embedding']

    @jax.checkpoint
    def add_part(sums, part):
      positions_BC, targets_BC, weights_BC = part
      logits_BCV = head.apply(
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


def data_statistics(batch: Batch) -> Terms:
  """Returns what a batch of masked sequences was made with, to be watched.

  `masked_fraction` of the real tokens are predicted; `visible_fraction` of
  those stand in the text as they are (0.1 in BERT, which keeps a tenth);
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


def _span_losses(logits_BL2, labels_BS2, segments_BL):
  """The mean of the cross-entropies of a span's first and last token."""
  logits_B2L = jnp.where(
    segments_BL[:, None] > 0, logits_BL2.swapaxes(1, 2), -1e9
  )
  losses_BS2 = optax.softmax_cross_entropy_with_integer_labels(
    logits_B2L[:, None], labels_BS2
  )
  return jnp.mean(losses_BS2, axis=-1)


# Kind of task -> losses of the shape of `label_weights`, of logits, labels and
# segments; float32 throughout. As transformers' BertFor... classes have them.
TASK_LOSSES = {
  'classes': lambda logits, labels, _: (
    optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  ),
  'number': lambda logits, labels, _: jnp.square(logits[..., 0] - labels),
  'labels': lambda logits, labels, _: jnp.mean(
    optax.sigmoid_binary_cross_entropy(logits, labels), axis=-1
  ),
  'tags': lambda logits, labels, _: (
    optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  ),
  'spans': _span_losses,
}


@dataclasses.dataclass(frozen=True)
class TaskObjective:
  """The loss of one kind of task.

  Attributes:
    model: a module that returns logits.
    kind: a name in `TASK_LOSSES`.
    class_weights: of each class in a mean of 'classes' or 'tags'; None: 1.
  """

  model: nn.Module
  kind: str
  class_weights: tuple[float, ...] | None = None

  losses = ('loss',)

  def weights(self, batch: Batch) -> dict[str, jax.Array]:
    """Returns what the loss is divided by, summed over the whole batch."""
    return {'loss': jnp.sum(self._weights(batch))}

  def __call__(
    self, parameters, batch: Batch, rng: jax.Array | None, train: bool
  ) -> Terms:
    """Returns loss: (sum, weight); see `MaskedLanguageModel`."""
    logits = self.model.apply(
      {'params': parameters},
      batch,
      train=train,
      rngs={'dropout': rng} if train else None,
    )['logits']
    losses = TASK_LOSSES[self.kind](logits, batch['labels'], batch['segments'])
    weights = self._weights(batch)
    return {'loss': (jnp.sum(losses * weights), jnp.sum(weights))}

  def _weights(self, batch: Batch) -> jax.Array:
    if self.class_weights is None:
      return batch['label_weights']
    return (
      batch['label_weights']
      * jnp.asarray(self.class_weights, jnp.float32)[batch['labels']]
    )
