"""The useful floating-point operations of a training step.

    flops.of_step(config, batch_shapes, next_sentence=True)    # a number
    flops.of_forward(config, batch_shapes, next_sentence=True)  # its parts

Useful are the matrix products that the model is made of, each multiplication
and each addition one operation: those of the layers, of attention, of the head
on the predicted positions, of the pooler and its classes. Not the elementwise
work, not the optimizer, and not what is computed twice to save memory. Padding
counts as tokens do, since the arrays have it. The model-FLOPs utilisation (MFU)
stands on this count. Needs neither jax nor a model. Source: Chowdhery et al.
2022 (PaLM), appendix B.
"""

import math
from collections.abc import Mapping


def of_forward(config, shapes: Mapping, next_sentence: bool) -> dict[str, int]:
  """Counts the products of one forward pass over a batch.

  Args:
    config: an `EncoderConfig`.
    shapes: of a batch, see `bertjax.batch.shapes`: those of `tokens` [B, L],
      `target_positions` [B, P] and `first_positions` [B, S] count, where they
      are there.
    next_sentence: whether the pooler and the next-sentence head run.

  Returns:
    FLOPs of `layers`, `attention` (scores and context), `vocabulary` (the
    masked-LM head) and `next_sentence`; all of the whole batch.
  """
  width = config.width
  rows, length = shapes['tokens'].shape
  predicted = _positions(shapes, 'target_positions')
  first = _positions(shapes, 'first_positions') if next_sentence else 0
  # Query, key, value and output; into and out of the feed-forward width.
  layer = 4 * width * width + 2 * width * config.feed_forward
  return {
    'layers': 2 * rows * length * config.layers * layer,
    'attention': 2 * rows * config.layers * 2 * length * length * width,
    'vocabulary': 2
    * predicted
    * (width * width + width * config.vocabulary_size),
    'next_sentence': 2 * first * (width * width + 2 * width),
  }


def of_step(config, shapes: Mapping, next_sentence: bool) -> int:
  """Returns the useful FLOPs of one step over a batch, forward and backward.

  A product C = A B has two of its size as gradients, of A and of B, so backward
  is twice forward. Arguments as for `of_forward`.
  """
  return 3 * sum(of_forward(config, shapes, next_sentence).values())


def _positions(shapes: Mapping, key: str) -> int:
  return math.prod(shapes[key].shape) if key in shapes else 0
