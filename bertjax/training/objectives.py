"""Masked language modelling, with pairs of sentences and noise beside it.

    objective = objectives.MaskedLanguageModel(model)
    terms = objective(parameters, batch, rng, train=True)
    terms['mlm_loss']      # (sum over masked tokens, their number)

Source: Devlin et al. 2018, section 3.1; for the other parts, see `text.pairs`
and `text.noises`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bertjax import batch as batch_lib
from bertjax.batch import Batch
from bertjax.errors import UserError, choose, expect
from bertjax.models import heads
from bertjax.training import parts
from bertjax.training.abstract_objective import (
  Answers,
  Array,
  DeviceBatch,
  Objective,
  apply_model,
  cross_entropy,
)
from bertjax.training.state import Parameters
from bertjax.values import Count, check


@dataclasses.dataclass(frozen=True)
class MaskedLanguageModel(Objective):
  """Masked-LM loss plus, if the model is made for them, those of other parts.

  These are one for pairs of sentences, and one for noise beside the masks.

  Attributes:
    model: a `BertForPreTraining`.
    chunks: the predictions of a row are scored in this many parts, one after
      the other and again in the backward pass, so that only one part's logits
      are in memory. Useful if these are what does not fit.
  """

  model: nn.Module
  chunks: Count = 1

  vocabulary_loss = 'mlm_loss'
  samples_title = (
    'Held-out text, its masks filled in as [guess] or [guess≠right]:'
  )

  def __post_init__(self) -> None:
    check(type(self), {'chunks': self.chunks})
    what, got = 'a BertForPreTraining', type(self.model).__name__
    other = isinstance(self.model, nn.Module)
    fits = hasattr(self.model, 'next_sentence') or not other
    expect(fits, what, got, 'MaskedLanguageModel.model')
    choose(dict.fromkeys(parts.PAIRS), self._pair_kind, 'PAIRS')
    if self._noise_target is not None:
      where = 'BertForPreTraining.noise_target'
      choose(batch_lib.NOISE_TARGETS, self._noise_target, where)
    config = getattr(self.model, 'config', None)
    pairs = getattr(self.model, 'next_sentence', False)
    if config and pairs and config.types < 2:
      raise UserError(
        'next-sentence prediction has sentences of two types, got '
        f'EncoderConfig.types = {config.types}; set it to 2, or NSP=False'
      )

  @property
  def _pair_kind(self) -> str:
    return getattr(self.model, 'pair_kind', 'nsp')

  @property
  def _noise_target(self) -> str | None:
    return getattr(self.model, 'noise_target', None)

  @property
  def _parts(self) -> dict[str, parts.Part]:
    """What the model is for; pairs also if it does without them."""
    names = ['mlm', self._pair_kind]
    if self._noise_target is not None:
      names.append(self._noise_target)
    return {name: parts.PARTS[name] for name in names}

  @property
  def keys(self) -> tuple[str, ...]:
    """Keys of a batch; with noise also its labels."""
    more = batch_lib.NOISE_TARGETS.get(self._noise_target or '', ())
    return (*batch_lib.PRETRAINING, *more)

  @property
  def losses(self) -> dict[str, float]:
    """Each part's loss, with the factor 1.

    Deviation: ELECTRA's detection has the factor 50, beside the loss of another
    model. Beside that of the same one it costs more than it helps
    (experiments/LOG.md).
    """
    return {f'{name}_loss': 1 for name in self._parts}

  @property
  def titles(self) -> dict[str, str]:
    """Those of parts, losses and statistics."""
    found = {
      'loss': 'total loss',
      'visible_fraction': 'masked tokens left visible, share',
    }
    for name, part in self._parts.items():
      found[name] = part.title
      # 'masked-LM loss', but 'masked LM'
      compound = part.title.replace(' ', '-')
      found[f'{name}_loss'] = f'{compound} loss, nats'
      if 'auc' in part.guessing:
        found[f'{name}_auc'] = f'{compound} AUC'
      found |= [part.share]
    return found

  @property
  def panels(self) -> tuple[str, ...]:
    """Loss and accuracy of each part, and what else guessing is known for."""
    return tuple(
      f'{name}_{kind}'
      for name, part in self._parts.items()
      for kind in dict.fromkeys(('loss', 'accuracy', *part.guessing))
    )

  @property
  def watched(self) -> tuple[str, ...]:
    """The masked-LM loss, and all that is no loss."""
    return (
      'mlm_loss',
      *(name for name in self.panels if not name.endswith('_loss')),
    )

  @property
  def chances(self) -> dict[str, float]:
    """What guessing reaches for pairs and for noise."""
    return {
      f'{name}_{kind}': value
      for name, part in self._parts.items()
      for kind, value in part.guessing.items()
    }

  def check_batch(self, batch: Batch) -> None:
    """Raises UserError also if there are no pairs to learn from."""
    super().check_batch(batch)
    if self.model.next_sentence and not np.any(batch['pair_weights']):
      raise UserError(
        'expected pairs of sentences, which the model learns from, got a batch '
        'without any; set NSP=False, which is for data and model'
      )

  def weights(self, batch: DeviceBatch) -> dict[str, jax.Array]:
    """Returns the number of predicted tokens, of sentence pairs and so on."""
    return {
      f'{name}_loss': jnp.sum(weights)
      for name, (_, weights) in self._answers(batch).items()
    }

  def __call__(self, parameters, batch, rng, train, frozen=None):
    """Returns losses, accuracies and, if `train`, `parts.data_statistics`;
    else AUCs, which a step does not wait for."""
    outputs = apply_model(self.model, parameters, batch, rng, train)
    terms = {}
    for name, answers in self._answers(batch).items():
      part = self._parts[name]
      logits = part.logits or name
      if logits == 'mlm' and self.chunks > 1:
        # Nothing reads mlm_logits then, so XLA leaves them out.
        sums = self._in_chunks(parameters, outputs['hidden'], batch, answers)
      else:
        sums = cross_entropy(outputs[f'{logits}_logits'], *answers)
      loss, right, weight = sums
      terms[f'{name}_loss'] = loss, weight
      terms[f'{name}_accuracy'] = right, weight
      if 'auc' in part.guessing and not train:
        found = parts.auc(outputs[f'{logits}_logits'], *answers)
        terms[f'{name}_auc'] = found
    if train:
      terms |= parts.data_statistics(batch, tuple(self._parts))
    return terms

  def answers(self, batch: Batch) -> Answers:
    """Returns the hidden tokens, the labels of pairs, and what is noise."""
    return {
      name: answers
      for name, answers in self._answers(batch).items()
      if parts.PARTS[name].constant
    }

  def _answers(self, batch: Batch) -> dict[str, tuple[Array, Array]]:
    left_out = () if self.model.next_sentence else parts.PAIRS
    return {
      name: (batch[part.answers[0]], batch[part.answers[1]])
      for name, part in self._parts.items()
      if name not in left_out
    }

  def sample(self, parameters: Parameters, batch: DeviceBatch) -> jax.Array:
    """Returns the likeliest token for each target: int32[B, P]."""
    outputs = apply_model(self.model, parameters, batch)
    return jnp.argmax(outputs['mlm_logits'], -1)

  def show(
    self, sampled: np.ndarray, batch: Batch, vocabulary: Sequence[str]
  ) -> list[str]:
    """Returns texts with each [MASK] as `[guess]`, or `[guess≠right]` if wrong.

    Args:
      sampled: int[B, P], the likeliest token for each target.
      batch: masked sequences.
      vocabulary: id -> token.
    """
    lines = []
    keys = ('tokens', 'segments', 'target_positions', 'targets', 'weights')
    # A shuffled token is shown like a masked one.
    weights = batch['weights'] + batch.get('order_weights', 0)
    shown = {**batch, 'weights': weights}
    rows = zip(sampled, *(shown[key] for key in keys), strict=True)
    for guesses, tokens, segments, *targets in rows:
      if not np.any(targets[-1]):
        continue  # nothing to guess: padding, or noise without masks
      ids = tokens[segments > 0]
      # Of BPE the piece behind [CLS] or [SEP], the row's ends, continues none.
      first = np.isin([ids[0], *ids[:-1]], ids[[0, -1]])
      words = [
        vocabulary[i].removeprefix('##' if is_first else '')
        for i, is_first in zip(ids, first, strict=True)
      ]
      for guess, column, target, weight in zip(guesses, *targets, strict=True):
        if weight:
          right = vocabulary[target]
          said = vocabulary[guess] if guess < len(vocabulary) else '[UNK]'
          if first[column] and right.startswith('##'):
            # 'the' and '##the' are to be told apart.
            bare = [right.removeprefix('##'), said.removeprefix('##')]
            if (bare[0] == bare[1]) == (right == said):
              right, said = bare
          words[column] = f'[{said}]' if said == right else f'[{said}≠{right}]'
      lines.append(' '.join(words).replace(' ##', ''))
    return lines

  def _in_chunks(
    self,
    parameters: Parameters,
    hidden_BLD: jax.Array,
    batch: DeviceBatch,
    answers: tuple[Array, Array],
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the sums of `cross_entropy`."""
    padding = -answers[0].shape[1] % self.chunks
    head = heads.VocabularyScores(self.model.config)
    names = parameters.keys() & {'mlm_head', 'prediction_head'}
    of_head = {name: parameters[name] for name in names}
    table_VD = parameters['embeddings']['token']['embedding']

    @jax.checkpoint
    def add_part(sums, part):
      positions_BC, targets_BC, weights_BC = part
      logits_BCV: Any = head.apply(
        {'params': of_head},
        heads.gather_positions(hidden_BLD, positions_BC),
        table_VD,
      )
      found = cross_entropy(logits_BCV, targets_BC, weights_BC)
      return jax.tree.map(jnp.add, sums, found), None

    parts = tuple(
      jnp.pad(array, ((0, 0), (0, padding)))
      .reshape(len(array), self.chunks, -1)
      .swapaxes(0, 1)
      for array in (batch['target_positions'], *answers)
    )
    sums, _ = jax.lax.scan(add_part, (jnp.zeros(()),) * 3, parts)
    return sums
