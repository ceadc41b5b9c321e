"""BERT, alone, with its two pretraining heads, or with that of a task.

    model = BertForPreTraining(config)
    variables = model.init(jax.random.key(0), batch, train=False)
    outputs = model.apply(variables, batch, train=True,
                          rngs={'dropout': jax.random.key(1)})
    outputs['mlm_logits']  # float32[B, P, V]

Source: Devlin et al. 2019; equal to `BertForPreTraining` of Hugging Face
transformers on the same weights (`experiments/golden/`).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax

from bertjax.models import heads, layers
from bertjax.models.config import EncoderConfig, choose
from bertjax.models.embeddings import Embeddings
from bertjax.models.encoder import Encoder
from bertjax.models.kernels import SegmentMask


def encode(
  config: EncoderConfig, batch: Mapping[str, jax.Array], train: bool
) -> tuple[jax.Array, jax.Array]:
  """Makes the submodules `embeddings` and `encoder` and runs them.

  Args:
    config: the architecture.
    batch: `tokens`, `types`, `positions`, `segments`: int32[B, L].
    train: whether to drop out.

  Returns:
    compute_dtype[B, L, D], the output of the last layer, and the token table,
    param_dtype[V, D].
  """
  hidden_BLD, token_table_VD = Embeddings(config, name='embeddings')(
    batch['tokens'], batch['types'], batch['positions'], train
  )
  hidden_BLD = Encoder(config, name='encoder')(
    hidden_BLD, SegmentMask(batch['segments']), train
  )
  return hidden_BLD, token_table_VD


class Bert(nn.Module):
  """The encoder without a head.

  Attributes:
    config: the architecture.
  """

  config: EncoderConfig

  @nn.compact
  def __call__(
    self, batch: Mapping[str, jax.Array], *, train: bool
  ) -> dict[str, jax.Array]:
    """Returns hidden: compute_dtype[B, L, D]; see `encode`."""
    return {'hidden': encode(self.config, batch, train)[0]}


class BertForPreTraining(nn.Module):
  """An encoder with a masked-LM head and, if asked, a next-sentence head.

  Attributes:
    config: the architecture.
    next_sentence: whether the pooler and the next-sentence head exist.
  """

  config: EncoderConfig
  next_sentence: bool = True

  @nn.compact
  def __call__(
    self, batch: Mapping[str, jax.Array], *, train: bool
  ) -> dict[str, jax.Array]:
    """Runs the model.

    Args:
      batch: of what `bertjax.batch` describes, `tokens`, `types`, `positions`,
        `segments`: int32[B, L]; `target_positions`: int32[B, P]; and with
        next_sentence `first_positions`: int32[B, S].
      train: whether to drop out; needs the rng 'dropout' where a rate is not 0.

    Returns:
      hidden: compute_dtype[B, L, D], the output of the last layer.
      mlm_logits: float32[B, P, V].
      With next_sentence also pooled: compute_dtype[B, S, D], and
      nsp_logits: float32[B, S, 2], class 0 where B follows A, 1 where B comes
      from elsewhere.

    Raises:
      UserError: rows longer than the model's positions; a name in the
        configuration that stands in no table.
    """
    config = self.config
    hidden_BLD, token_table_VD = encode(config, batch, train)
    predicted_BPD = heads.gather_positions(
      hidden_BLD, batch['target_positions']
    )
    outputs = {
      'hidden': hidden_BLD,
      'mlm_logits': heads.MaskedLanguageModelHead(config, name='mlm_head')(
        predicted_BPD, token_table_VD
      ),
    }
    if self.next_sentence:
      first_BSD = heads.gather_positions(hidden_BLD, batch['first_positions'])
      outputs['pooled'] = heads.pool(config, first_BSD)
      outputs['nsp_logits'] = heads.classify(
        config, outputs['pooled'], 2, 'nsp_head'
      )
    return outputs


class TaskHead(NamedTuple):
  """What stands on the encoder for a task.

  Attributes:
    reads: 'pooled', the pooled [CLS] of each sequence, or 'hidden', the
      encoder's output at every position.
    drops: whether it drops out first.
    make: (config, features, classes, name) -> float32[..., C]; makes the one
      submodule `name`, see `heads.classify`.
  """

  reads: str
  drops: bool = True
  make: Callable[..., jax.Array] = heads.classify


# As transformers' BertFor... classes. More may be added from outside.
TASK_HEADS = {
  'classifier': TaskHead('pooled'),
  'tag_head': TaskHead('hidden'),
  'span_head': TaskHead('hidden', drops=False),
}


def reads_positions(head: str) -> bool:
  """Whether a head's logits are of each position, not of each sequence."""
  return choose(TASK_HEADS, head, 'BertForTask.head').reads == 'hidden'


class BertForTask(nn.Module):
  """An encoder with the head of a task that is fine-tuned for.

  Attributes:
    config: the architecture.
    head: a name in `TASK_HEADS`, which its parameters have as well.
    classes: C, of the head; 1 for a number, 2 for the ends of a span.
    head_dropout: rate before the head; None is that of the encoder.
  """

  config: EncoderConfig
  head: str
  classes: int
  head_dropout: float | None = None

  @nn.compact
  def __call__(
    self, batch: Mapping[str, jax.Array], *, train: bool
  ) -> dict[str, jax.Array]:
    """Runs the model.

    Args:
      batch: `tokens`, `types`, `positions`, `segments`: int32[B, L], and for a
        head that reads 'pooled' `first_positions`: int32[B, S].
      train: whether to drop out; needs the rng 'dropout' where a rate is not 0.

    Returns:
      logits: float32[B, S, C] of a head that reads 'pooled', else
      float32[B, L, C].
    """
    config = self.config
    head = choose(TASK_HEADS, self.head, 'BertForTask.head')
    features, _ = encode(config, batch, train)
    if head.reads == 'pooled':
      features = heads.pool(
        config, heads.gather_positions(features, batch['first_positions'])
      )
    if head.drops:
      rate = self.head_dropout
      features = layers.Dropout(
        config.dropout if rate is None else rate, name='head_dropout'
      )(features, train)
    return {'logits': head.make(config, features, self.classes, self.head)}
