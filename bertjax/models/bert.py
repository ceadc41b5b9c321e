"""BERT without a head, with its two pretraining heads, or with a task's head.

    model = BertForPreTraining(config)
    variables = model.init(jax.random.key(0), batch, train=False)
    outputs = model.apply(variables, batch, train=True,
                          rngs={'dropout': jax.random.key(1)})
    outputs['mlm_logits']  # float32[B, P, V]

Source: Devlin et al. 2019; equal to `BertForPreTraining` of Hugging Face
transformers on the same weights (`experiments/golden/`).
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
from jax import Array

from bertjax.errors import choose
from bertjax.models import heads, layers, poolings
from bertjax.models.attention_mask import AttentionMask
from bertjax.models.config import EncoderConfig
from bertjax.models.embeddings import Arrays, Embeddings
from bertjax.models.encoder import Encoder
from bertjax.models.poolings import POOLINGS


def encode(
  config: EncoderConfig, batch: Arrays, train: bool
) -> tuple[Array, Array]:
  """Makes the submodules `embeddings` and `encoder` and runs them.

  Args:
    config: the architecture.
    batch: `tokens`, `types`, `positions`, `segments`: int32[B, L].
    train: whether dropout is on.

  Returns:
    the last layer's output, compute_dtype[B, L, D], and the token table,
    param_dtype[vocabulary_rows, D].
  """
  embeddings = Embeddings(config, name='embeddings')
  hidden_BLD, token_table_VD = embeddings(batch, train)
  mask = AttentionMask(
    batch['segments'], batch['positions'], config.attention_rule
  )
  hidden_BLD = Encoder(config, name='encoder')(hidden_BLD, mask, train)
  return hidden_BLD, token_table_VD


class Bert(nn.Module):
  """The encoder without a head."""

  config: EncoderConfig

  @nn.compact
  def __call__(self, batch: Arrays, *, train: bool) -> dict[str, Array]:
    """Returns hidden: compute_dtype[B, L, D]; see `encode` for the rest."""
    return {'hidden': encode(self.config, batch, train)[0]}


class BertForPreTraining(nn.Module):
  """An encoder with a masked-LM head and, if asked, heads for pairs and noise.

  Attributes:
    config: the architecture.
    next_sentence: whether to add the pooler and the head for pairs.
    pair_kind: what the pairs are; the head is called `nsp_head` and the like.
    noise_target: what is learnt from noise, see `batch.NOISE_TARGETS`:
      'detection' has a head, and 'order' uses that of the masked LM.
  """

  config: EncoderConfig
  next_sentence: bool = True
  pair_kind: str = 'nsp'
  noise_target: str | None = None

  @nn.compact
  def __call__(self, batch: Arrays, *, train: bool) -> dict[str, Array]:
    """Runs the model.

    Args:
      batch: as `bertjax.batch` describes it: `tokens`, `types`, `positions`,
        `segments`: int32[B, L]; `target_positions`: int32[B, P]; and with
        next_sentence `first_positions`: int32[B, S].
      train: whether dropout is on; needs the rng 'dropout' if a rate is not 0.

    Returns:
      hidden: compute_dtype[B, L, D], the last layer's output.
      mlm_logits: float32[B, P, vocabulary_rows].
      With next_sentence also pooled: compute_dtype[B, S, D], and
      nsp_logits: float32[B, S, 2], class 0: B follows A, class 1: B comes from
      elsewhere; named and meant as `pair_kind` says.
      To detect noise also detection_logits: float32[B, L, 2].

    Raises:
      UserError: rows longer than the model's positions; the configuration
        names a kernel, an activation, ... that does not exist.
    """
    config = self.config
    hidden_BLD, token_table_VD = encode(config, batch, train)
    predicted_BPD = heads.gather_positions(
      hidden_BLD, batch['target_positions']
    )
    outputs = {
      'hidden': hidden_BLD,
      'mlm_logits': heads.score_vocabulary(
        config, predicted_BPD, token_table_VD
      ),
    }
    if self.next_sentence:
      pooled_BSD = heads.pool(
        config, heads.gather_positions(hidden_BLD, batch['first_positions'])
      )
      outputs['pooled'] = pooled_BSD
      outputs[f'{self.pair_kind}_logits'] = heads.classify(
        config, pooled_BSD, 2, f'{self.pair_kind}_head'
      )
    if self.noise_target == 'detection':
      detection_head = heads.DetectionHead(config, name='detection_head')
      outputs['detection_logits'] = detection_head(hidden_BLD)
    return outputs


def has_pairs(config: EncoderConfig) -> bool:
  """Returns whether a model tells sentence A from B, by their types."""
  return config.types > 1


class TaskHead(NamedTuple):
  """A kind of head for a task.

  Attributes:
    reads: 'pooled', a vector of each sequence, or 'hidden', the encoder's
      output at every position.
    drops: whether its input goes through dropout.
    make: (config, features, classes, name) -> float32[..., C]; makes the one
      submodule `name`, see `heads.classify`.
  """

  reads: str
  drops: bool = True
  make: Callable[[EncoderConfig, Array, int, str], Array] = heads.classify


# As in transformers' BertFor... classes. Other code may add entries.
TASK_HEADS = {
  'classifier': TaskHead('pooled'),
  'tag_head': TaskHead('hidden'),
  'span_head': TaskHead('hidden', drops=False),
}


def reads_positions(head: str) -> bool:
  """Whether a head scores every position rather than every sequence."""
  return choose(TASK_HEADS, head, 'BertForTask.head').reads == 'hidden'


class BertForTask(nn.Module):
  """An encoder with the head of a fine-tuning task.

  Attributes:
    config: the architecture.
    head: a name in `TASK_HEADS`; also the name of the head's parameters.
    classes: C; 1 for a number, 2 for the first and last token of a span.
    head_dropout: dropout rate before the head; None: the encoder's.
  """

  config: EncoderConfig
  head: str
  classes: int
  head_dropout: float | None = None

  @nn.compact
  def __call__(self, batch: Arrays, *, train: bool) -> dict[str, Array]:
    """Runs the model.

    Args:
      batch: `tokens`, `types`, `positions`, `segments`: int32[B, L]; if the
        head reads 'pooled' also `first_positions`: int32[B, S].
      train: whether dropout is on; needs the rng 'dropout' if a rate is not 0.

    Returns:
      logits: float32[B, S, C] if the head reads 'pooled', else
      float32[B, L, C].
    """
    config = self.config
    head = choose(TASK_HEADS, self.head, 'BertForTask.head')
    features, _ = encode(config, batch, train)
    if head.reads == 'pooled':
      pooling = config.choose(POOLINGS, 'task_pooling')
      first_BS = batch['first_positions']
      features = pooling(features, first_BS, poolings.members(batch))
    if config.shared_head:
      features = heads.PredictionHead(config, name='prediction_head')(features)
    elif head.reads == 'pooled':
      features = heads.pool(config, features)
    if head.drops:
      rate = config.dropout if self.head_dropout is None else self.head_dropout
      features = layers.Dropout(rate, name='head_dropout')(features, train)
    return {'logits': head.make(config, features, self.classes, self.head)}
