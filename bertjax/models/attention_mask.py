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
    allows: (positions of the queries, int32[..., L, 1]; of the keys,
      int32[..., 1, M]) -> bool[..., L, M]. None: everything, without an
      operation.
    splash: (L, the farthest distance or None) -> the same, within that
      distance, as a mask of the splash kernel, whose indices are columns of the
      row. They may stand for positions: within a packed sequence the
      differences of both are equal. None: there is no such mask.
  """

  allows: Callable[[jax.Array, jax.Array], jax.Array] | None = None
  splash: 'Callable[[int, int | None], splash_masks.Mask] | None' = None


def _splash_all(length: int, reach: int | None) -> 'splash_masks.Mask':
  # Imported here because nothing else needs Pallas.
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as splash_masks,
  )

  shape = (length, length)
  if reach is None:
    return splash_masks.FullMask(shape)
  return splash_masks.LocalMask(shape, (reach, reach), 0)


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
    window: a position attends to those at most window / 2 away; None: to all.
  """

  segments_BL: jax.Array
  positions_BL: jax.Array
  rule: str = flax.struct.field(pytree_node=False, default='all')
  window: int | None = flax.struct.field(pytree_node=False, default=None)

  @property
  def reach(self) -> int | None:
    """How far a position may attend; None: any distance."""
    return None if self.window is None else self.window // 2

  def dense(self) -> jax.Array:
    """Returns bool[B, 1, L, M] with M = L; the form for XLA and cuDNN."""
    own = self.segments_BL, self.positions_BL
    return self.between(own, own)[:, None]

  def between(
    self,
    queries: tuple[jax.Array, jax.Array],
    keys: tuple[jax.Array, jax.Array],
  ) -> jax.Array:
    """Returns whether some positions may attend to others.

    Args:
      queries: their segments and their positions, int32[..., L].
      keys: the same, int32[..., M].

    Returns:
      bool[..., L, M]
    """
    (segments, positions), (segments_M, positions_M) = queries, keys
    key_1M = segments_M[..., None, :]
    mask_LM = (segments[..., None] == key_1M) & (key_1M != 0)
    allows = rule_named(self.rule).allows
    if allows is not None:
      mask_LM &= allows(positions[..., None], positions_M[..., None, :])
    if self.reach is not None:
      distance_LM = abs(positions[..., None] - positions_M[..., None, :])
      mask_LM &= distance_LM <= self.reach
    return mask_LM


def rule_named(name: str) -> Rule:
  """Returns a row of `RULES`; UserError if there is none."""
  return choose(RULES, name, 'EncoderConfig.attention_rule')
