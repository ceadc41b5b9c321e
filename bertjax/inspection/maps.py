"""The attention of one text, as numbers.

A distribution's entropy, in nats:

    >>> entropies(np.array([[1.0, 0.0], [0.5, 0.5]])).round(3).tolist()
    [0.0, 0.693]
"""

import dataclasses

import numpy as np
from scipy import special


@dataclasses.dataclass(frozen=True)
class Maps:
  """The attention of one text.

  Attributes:
    tokens: L of them, [CLS] and [SEP] included.
    second: index at which the second text of a pair begins, or None.
    layers: N layer numbers, from 0.
    weights: float32[N, H, L, M], attention of position L to position M.
    importance: float32[N, H], see `head_importance.of_masking`, or None.
  """

  tokens: tuple[str, ...]
  second: int | None
  layers: tuple[int, ...]
  weights: np.ndarray
  importance: np.ndarray | None = None

  @property
  def entropies(self) -> np.ndarray:
    """The mean over L of `entropies`: float32[N, H], nats, 0 to log L."""
    return entropies(self.weights).mean(-1)


def entropies(weights: np.ndarray) -> np.ndarray:
  """Returns the entropy of every distribution: float32[..., L], nats.

  It is 0 if all weight is on one token and log M if it is spread evenly.

  Args:
    weights: float32[..., L, M], sums to 1 over M.
  """
  return np.abs(special.entr(weights).sum(-1))  # not -0
