"""Heads on the encoder: masked-LM logits, [CLS] pooled, classes, noise.

    predicted_BPD = gather_positions(hidden_BLD, target_positions_BP)
    mlm_logits_BPV = score_vocabulary(config, predicted_BPD, token_table_VD)
    pooled_BSD = pool(config, gather_positions(hidden_BLD, first_BS))

Source: Devlin et al. 2019, section 3.1; google-research/bert
`run_pretraining.py` (`get_masked_lm_output`, `get_next_sentence_output`).
Detection: Clark et al. 2020 (ELECTRA), section 2; google-research/electra
`run_pretraining.py` (`_get_discriminator_output`).
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from bertjax.models import layers
from bertjax.models.config import EncoderConfig
from bertjax.models.feed_forward import activate
from bertjax.models.kernels import MASKED_SCORE


def gather_positions(hidden_BLD: Array, positions_BP: Array) -> Array:
  """Picks P positions of each row, so that heads work on these alone.

      >>> hidden_BLD = jnp.arange(6.0).reshape(1, 3, 2)
      >>> gather_positions(hidden_BLD, jnp.array([[2, 0]])).tolist()
      [[[4.0, 5.0], [0.0, 1.0]]]

  Args:
    hidden_BLD: float[B, L, D].
    positions_BP: int32[B, P], 0 <= position < L; L and beyond give NaN.

  Returns:
    float[B, P, D]
  """
  return jnp.take_along_axis(hidden_BLD, positions_BP[:, :, None], axis=1)


def transform(config: EncoderConfig, hidden: Array) -> Array:
  """Makes the submodules `dense` and `norm`: dense, activation, norm.

  Args:
    config: the architecture.
    hidden: float[..., D].

  Returns:
    compute_dtype[..., D]
  """
  field = 'activation' if config.head_activation is None else 'head_activation'
  # A kernel may name a logical axis only once, so its output axis is None.
  hidden = layers.dense(
    config,
    config.width,
    ('width', None),
    'dense',
    bias_axes=('width',),
    bias=config.head_bias,
    role='head',
  )(hidden)
  return layers.norm(config, 'norm')(activate(config, hidden, field))


class PredictionHead(nn.Module):
  """`transform`, where it belongs to all heads alike: ModernBERT."""

  config: EncoderConfig

  @nn.compact
  def __call__(self, hidden: Array) -> Array:
    """Returns compute_dtype[..., D]."""
    return transform(self.config, hidden)


class MaskedLanguageModelHead(nn.Module):
  """`transform`, and a product with the token table plus bias.

  With `shared_head` what it is given went through a `PredictionHead` before.
  """

  config: EncoderConfig

  @nn.compact
  def __call__(self, hidden_BPD: Array, token_table_VD: Array) -> Array:
    """Scores the vocabulary.

    Args:
      hidden_BPD: float[B, P, D], the encoder's output at the predicted
        positions.
      token_table_VD: float[V, D], the embeddings, which a tied decoder uses;
        here V is config.vocabulary_rows.

    Returns:
      float32[B, P, V]; MASKED_SCORE for the rows that pad the table.
    """
    config = self.config
    rows, dtype = config.vocabulary_rows, config.param_dtype
    if not config.shared_head:
      hidden_BPD = transform(config, hidden_BPD)
    if not config.tied_decoder:
      axes = ('vocabulary', 'width')
      drawn = layers.kernel_initializer(config, axes, 'head')
      token_table_VD = self.param('decoder', drawn, (rows, config.width), dtype)
    logits_BPV = jnp.einsum(
      'BPD,VD->BPV',
      hidden_BPD,
      token_table_VD.astype(config.compute_dtype),
      preferred_element_type=jnp.float32,
    )
    if config.decoder_bias:
      zeros = layers.zeros_initializer(('vocabulary',))
      logits_BPV += self.param('bias', zeros, (rows,), dtype)
    if rows > config.vocabulary_size:
      known_V = jnp.arange(rows) < config.vocabulary_size
      logits_BPV = jnp.where(known_V, logits_BPV, MASKED_SCORE)
    return logits_BPV


class VocabularyScores(nn.Module):
  """All that stands between the encoder and the logits of the vocabulary.

  Its submodules are those of `BertForPreTraining`.
  """

  config: EncoderConfig

  @nn.compact
  def __call__(self, hidden_BPD: Array, token_table_VD: Array) -> Array:
    """See `MaskedLanguageModelHead`."""
    return score_vocabulary(self.config, hidden_BPD, token_table_VD)


def score_vocabulary(
  config: EncoderConfig, hidden_BPD: Array, token_table_VD: Array
) -> Array:
  """Makes the submodule `mlm_head` and, if it is shared, `prediction_head`.

  Arguments and result as of `MaskedLanguageModelHead`.
  """
  if config.shared_head:
    hidden_BPD = PredictionHead(config, name='prediction_head')(hidden_BPD)
  head = MaskedLanguageModelHead(config, name='mlm_head')
  return head(hidden_BPD, token_table_VD)


class DetectionHead(nn.Module):
  """Dense, activation, and one number for each token: ELECTRA's."""

  config: EncoderConfig

  @nn.compact
  def __call__(self, hidden_BLD: Array) -> Array:
    """Scores each token.

    Args:
      hidden_BLD: float[B, L, D], the encoder's output.

    Returns:
      float32[B, L, 2], the logits of class 0, an original, which are 0, and of
      class 1, noise.
    """
    config = self.config
    hidden_BLD = layers.dense(
      config,
      config.width,
      ('width', None),
      'dense',
      bias_axes=('width',),
      role='head',
    )(hidden_BLD)
    hidden_BLD = activate(config, hidden_BLD)
    scores_BL1 = classify(config, hidden_BLD, 1, 'scores')
    return jnp.concatenate([jnp.zeros_like(scores_BL1), scores_BL1], -1)


def pool(config: EncoderConfig, vectors_BSD: Array) -> Array:
  """Makes the submodule `pooler`: a dense layer and tanh on each sequence.

  Args:
    config: the architecture.
    vectors_BSD: float[B, S, D], such as the encoder's output at each [CLS].

  Returns:
    compute_dtype[B, S, D]
  """
  pooled_BSD = layers.dense(
    config,
    config.width,
    ('width', None),
    'pooler',
    bias_axes=('width',),
    role='head',
  )(vectors_BSD)
  return layers.Tap(name='pooled')(jnp.tanh(pooled_BSD))


def classify(
  config: EncoderConfig, features: Array, classes: int, name: str
) -> Array:
  """Makes the linear submodule `name`, which scores classes.

  Args:
    config: the architecture.
    features: float[..., D].
    classes: C.
    name: the submodule's.

  Returns:
    float32[..., C]
  """
  axes = ('width', 'classes')
  dense = layers.dense(config, classes, axes, name, role='classifier')
  logits = dense(features)
  return logits.astype(jnp.float32)
