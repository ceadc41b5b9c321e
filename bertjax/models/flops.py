"""The useful floating-point operations of a training step.

    >>> from bertjax import batch
    >>> from bertjax.models.config import EncoderConfig
    >>> config = EncoderConfig(vocabulary_size=100, width=8, layers=2, heads=2,
    ...                        feed_forward=32)
    >>> shapes = batch.shapes(batch_size=4, length=16, predictions=3)
    >>> of_forward(config, shapes, next_sentence=True)['attention']
    65536
    >>> of_step(config, shapes, next_sentence=True)
    850560

Useful are the matrix products that the model consists of, with a multiplication
and an addition counted as two operations: in the layers, in attention within
its windows, in the head on the predicted positions, in the pooler and its
classifier. Elementwise
work, the optimizer and what is recomputed to save memory do not count. Padding
counts like tokens, since the arrays contain it. The model-FLOPs utilisation
(MFU) is based on this count. Source: Chowdhery et al. 2022 (PaLM), appendix B.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

from bertjax.models import layer_patterns
from bertjax.models.config import EncoderConfig
from bertjax.models.feed_forward import FEED_FORWARDS


class Shaped(Protocol):
  """An array, or a shape without one."""

  @property
  def shape(self) -> tuple[int, ...]: ...


def of_forward(
  config: EncoderConfig,
  shapes: Mapping[str, Shaped],
  next_sentence: bool,
  detection: bool = False,
) -> dict[str, int]:
  """Counts the products of one forward pass over a batch.

  Args:
    config: the architecture.
    shapes: of a batch, see `bertjax.batch.shapes`; `tokens` [B, L] and, if
      present, `target_positions` [B, P] and `first_positions` [B, S] are read.
    next_sentence: whether the pooler and the head for pairs run.
    detection: whether the head that detects noise runs.

  Returns:
    FLOPs of `layers`, `attention` (scores and context), `vocabulary` (the
    masked-LM head), `next_sentence` and `detection`, each for the whole batch.
  """
  width = config.width
  rows, length = shapes['tokens'].shape
  predicted = _positions(shapes, 'target_positions')
  first = _positions(shapes, 'first_positions') if next_sentence else 0
  # Query, key, value and output projections; the feed-forward block.
  products = config.choose(FEED_FORWARDS, 'feed_forward_block').products
  layer = 4 * width * width + products * width * config.feed_forward
  return {
    'layers': 2 * rows * length * config.layers * layer,
    'attention': sum(
      2 * rows * 2 * attended(length, spec.window) * width
      for spec in layer_patterns.specs(config)
    ),
    'vocabulary': 2 * predicted * width * (width + config.vocabulary_size),
    'next_sentence': 2 * first * width * (width + 2),
    'detection': 2 * rows * length * width * (width + 1) if detection else 0,
  }


def of_step(
  config: EncoderConfig,
  shapes: Mapping[str, Shaped],
  next_sentence: bool,
  detection: bool = False,
) -> int:
  """Returns the useful FLOPs of one step over a batch, forward and backward.

  The gradients of a product C = A B, by A and by B, are two products of its
  size, so backward costs twice forward. Arguments as for `of_forward`.
  """
  counted = of_forward(config, shapes, next_sentence, detection)
  return 3 * sum(counted.values())


def of_model(model: Any, shapes: Mapping[str, Shaped]) -> int:
  """Returns the useful FLOPs of one forward pass of a model of `models.bert`.

  Args:
    model: has a `config`, and may have heads for pairs and for noise.
    shapes: see `of_forward`.
  """
  pairs = getattr(model, 'next_sentence', False)
  detection = getattr(model, 'noise_target', None) == 'detection'
  return sum(of_forward(model.config, shapes, pairs, detection).values())


def attended(length: int, window: int | None) -> int:
  """Returns how many pairs of positions attend in a row of one sequence.

      >>> attended(5, None), attended(5, 2)
      (25, 13)

  Args:
    length: L.
    window: see `EncoderConfig.local_window`.
  """
  reach = length - 1 if window is None else min(window // 2, length - 1)
  return length * (2 * reach + 1) - reach * (reach + 1)


def _positions(shapes: Mapping[str, Shaped], key: str) -> int:
  return math.prod(shapes[key].shape) if key in shapes else 0
