"""What may attend to what: packed sequences and a rule, as one object.

    >>> segments_BL = jax.numpy.array([[1, 2, 0]])
    >>> mask = AttentionMask(segments_BL, jax.numpy.zeros((1, 3), int))
    >>> mask.dense().astype(int).tolist()
    [[[[1, 0, 0], [0, 1, 0], [0, 0, 0]]]]

`bert.encode` makes it once. The layers hand it to the attention kernels, each
of which takes the form that it wants.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import flax
import jax

from bertjax.errors import choose

if TYPE_CHECKING:
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as splash_masks,
  )


class Rule(NamedTuple):
  """Says what a position may attend to within its own sequence.

  Attributes:
    allows: (positions of the queries, int32[B, L, 1]; of the keys,
      int32[B, 1, M]) -> bool[B, L, M]. None: everything, without an operation.
    splash: (L) -> the same as a mask of the splash kernel, whose indices are
      columns of the row. They may stand for positions: within a packed sequence
      the differences of both are equal. None: there is no such mask.
  """

  allows: Callable[[jax.Array, jax.Array], jax.Array] | None = None
  splash: 'Callable[[int], splash_masks.Mask] | None' = None


def _splash_all(length: int) -> 'splash_masks.Mask':
  # Imported here because nothing else needs Pallas.
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as splash_masks,
  )

  return splash_masks.FullMask((length, length))


# Other code may add entries.
RULES = {'all': Rule(splash=_splash_all)}


@flax.struct.dataclass
class AttentionMask:
  """Lets a position attend within its own sequence, as far as a rule allows.

  Attributes:
    segments_BL: int32[B, L], which packed sequence a position belongs to; 0 is
      padding, which neither attends nor is attended to.
    positions_BL: int32[B, L], from 0 in every sequence.
    rule: a name in `RULES`.
  """

  segments_BL: jax.Array
  positions_BL: jax.Array
  rule: str = flax.struct.field(pytree_node=False, default='all')

  def dense(self) -> jax.Array:
    """Returns bool[B, 1, L, M] with M = L; the form for XLA and cuDNN."""
    query_B1L1 = self.segments_BL[:, None, :, None]
    key_B11M = self.segments_BL[:, None, None, :]
    mask_B1LM = (query_B1L1 == key_B11M) & (key_B11M != 0)
    allows = rule_named(self.rule).allows
    if allows is not None:
      allowed_BLM = allows(
        self.positions_BL[:, :, None], self.positions_BL[:, None, :]
      )
      mask_B1LM &= allowed_BLM[:, None]
    return mask_B1LM


def rule_named(name: str) -> Rule:
  """Returns a row of `RULES`; UserError if there is none."""
  return choose(RULES, name, 'EncoderConfig.attention_rule')
