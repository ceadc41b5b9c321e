"""What a model may be to say in pretraining, and what that is called.

    parts.PARTS['sop'].title     # 'sentence order'
    terms = parts.data_statistics(batch, ('mlm', 'sop'))

A part is something with right answers in the batch. `objectives` puts them
together.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bertjax.training.abstract_objective import Array, DeviceBatch, Terms


class Part(NamedTuple):
  """Something that a model is to say, with a loss and an accuracy.

  Attributes:
    title: what people call it.
    answers: keys of the right ids and of their weights.
    share: the statistic of the data that belongs to it, and its title.
    guessing: 'accuracy', 'loss' or 'auc' -> what guessing reaches, if the data
      do not matter. Of what is said of each token, with two classes, there may
      be an AUC.
    logits: of the model, by their first name; None: that of the part.
    constant: whether some constant answer is worth a comparison.
  """

  title: str
  answers: tuple[str, str]
  share: tuple[str, str]
  guessing: Mapping[str, float] = {}
  logits: str | None = None
  constant: bool = True


_OF_PAIRS = ('pair_labels', 'pair_weights')
PARTS = {
  'mlm': Part(
    'masked LM',
    ('targets', 'weights'),
    ('masked_fraction', 'masked tokens, share of all'),
  ),
  'nsp': Part(
    'next sentence',
    _OF_PAIRS,
    ('random_pair_fraction', 'random sentence pairs, share'),
    guessing={'accuracy': 0.5},
  ),
  'sop': Part(
    'sentence order',
    _OF_PAIRS,
    ('swapped_pair_fraction', 'swapped sentence pairs, share'),
    guessing={'accuracy': 0.5},
  ),
  'same_document': Part(
    'same document',
    _OF_PAIRS,
    ('other_document_fraction', 'sentence pairs of two documents, share'),
    guessing={'accuracy': 0.5},
  ),
  # Of the six orders of a trigram, all equally likely, one token in three is at
  # its place: so much is right if all are left where they are. The loss is that
  # of knowing no more than how far off the right token of a place is, and how
  # often: 0 places in 3 of 9 cases, 1 and -1 in 2 each, 2 and -2 in 1 each.
  'order': Part(
    'token order',
    ('targets', 'order_weights'),
    ('shuffled_fraction', 'tokens in shuffled trigrams, share of all'),
    guessing={
      'accuracy': 1 / 3,
      'loss': sum(n / 9 * math.log(9 / n) for n in (3, 2, 2, 1, 1)),
    },
    logits='mlm',
    constant=False,
  ),
  'detection': Part(
    'noise detection',
    ('detection_labels', 'detection_weights'),
    ('noise_fraction', 'noise, share of the tokens that are to be told'),
    # Few tokens are noise: an accuracy says nothing until half of them are told
    # from the others with certainty.
    guessing={'auc': 0.5},
  ),
}
PAIRS = tuple(k for k, x in PARTS.items() if x.answers == _OF_PAIRS)


def data_statistics(
  batch: DeviceBatch, parts: Sequence[str] = ('mlm', 'nsp')
) -> Terms:
  """Returns how a batch was masked, paired and disturbed, to monitor the data.

  `masked_fraction` of the real tokens are predicted; `visible_fraction` of
  those are unchanged in the text (0.1 in BERT, which keeps a tenth);
  `random_pair_fraction` of the pairs have a random sentence B; and so on.

  Args:
    batch: see `bertjax.batch`.
    parts: names in `PARTS`, 'mlm' first, whose shares are returned.
  """
  shown_BP = jnp.take_along_axis(
    batch['tokens'], batch['target_positions'], axis=1
  )
  counts = {name: jnp.sum(batch[PARTS[name].answers[1]]) for name in parts}
  real = jnp.sum(batch['segments'] > 0, dtype=jnp.float32)
  visible = jnp.sum(batch['weights'] * (shown_BP == batch['targets']))
  found = {'visible_fraction': (visible, counts['mlm'])}
  for name, count in counts.items():
    (answers, weights), (share, _) = PARTS[name].answers, PARTS[name].share
    if answers == 'targets':
      found[share] = count, real
    else:  # label 1 among all labels
      found[share] = jnp.sum(batch[weights] * batch[answers]), count
  return found


def auc(
  logits_BL2: jax.Array, labels_BL: Array, weights_BL: Array
) -> tuple[jax.Array, jax.Array]:
  """Returns how often class 1 has a higher score than class 0, as a sum, and
  the number of pairs: the area under the ROC curve of each row.

      >>> logits_BL2 = jnp.array([[[0, 3.0], [0, 1.0], [0, 2.0]]])
      >>> won, pairs = auc(logits_BL2, jnp.array([[0, 0, 1]]), jnp.ones((1, 3)))
      >>> float(won), float(pairs)  # 2 is above 1, and not above 3
      (1.0, 2.0)

  Tokens of a row are compared, so that it does not depend on how a batch is
  split. A tie is half a win. Source: Hanley and McNeil 1982.

  Args:
    logits_BL2: float[B, L, 2].
    labels_BL: int32[B, L], 0 or 1.
    weights_BL: float32[B, L], 0 or 1.
  """
  score_BL = logits_BL2[..., 1] - logits_BL2[..., 0]
  one_BL, other_BL = weights_BL * labels_BL, weights_BL * (1 - labels_BL)
  # Sorted, since an array of all pairs of tokens is too large for long rows.
  sorted_BL = jnp.sort(jnp.where(other_BL > 0, score_BL, jnp.inf), axis=-1)
  below_BL, up_to_BL = (
    jax.vmap(functools.partial(jnp.searchsorted, side=side))(
      sorted_BL, score_BL
    )
    for side in ('left', 'right')
  )
  pairs_B = one_BL.sum(-1) * other_BL.sum(-1)
  return jnp.sum(one_BL * (below_BL + up_to_BL)) / 2, jnp.sum(pairs_B)
