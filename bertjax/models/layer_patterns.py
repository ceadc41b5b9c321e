"""In what layers differ from each other: a table of patterns by name.

    specs = layer_patterns.specs(config)  # one for each layer
    specs[3].rule

Layers with equal `LayerSpec`s compute the same function of their parameters.
"""

import dataclasses
from collections.abc import Callable, Sequence

from bertjax.models.config import EncoderConfig


@dataclasses.dataclass(frozen=True)
class LayerSpec:
  """What a pattern says of one layer.

  Attributes:
    rule: a name in `attention_mask.RULES`.
    window: a token attends to those at most window / 2 away; None: to all.
    position_base: for the position scheme.
    norm_first: whether pre-norm has a norm before attention.
  """

  rule: str = 'all'
  window: int | None = None
  position_base: float = 10000.0
  norm_first: bool = True


def uniform(config: EncoderConfig, index: int) -> LayerSpec:
  """The same in all layers."""
  return LayerSpec(
    config.attention_rule, config.local_window, config.rotary_base
  )


def local_global(config: EncoderConfig, index: int) -> LayerSpec:
  """Layer 0 and every `global_every`-th after it have no window: ModernBERT."""
  if index % config.global_every == 0:
    return dataclasses.replace(uniform(config, index), window=None)
  base = config.local_rotary_base or config.rotary_base
  return LayerSpec(config.attention_rule, config.local_window, base)


# (configuration, index of a layer) -> LayerSpec. Other code may add entries.
PATTERNS: dict[str, Callable[[EncoderConfig, int], LayerSpec]] = {
  'uniform': uniform,
  'local_global': local_global,
}


def specs(config: EncoderConfig) -> tuple[LayerSpec, ...]:
  """Returns the LayerSpec of each layer."""
  pattern = config.choose(PATTERNS, 'layer_pattern')
  first, *rest = (pattern(config, index) for index in range(config.layers))
  return (dataclasses.replace(first, norm_first=config.first_norm), *rest)


def period(specs: Sequence[LayerSpec]) -> int:
  """Returns after how many layers they repeat, the last time maybe cut off.

  >>> near, far = LayerSpec(window=2), LayerSpec()
  >>> period([far, near, near, far, near]), period([far, near, near])
  (3, 3)
  """
  return next(
    length
    for length in range(1, len(specs) + 1)
    if all(spec == specs[i % length] for i, spec in enumerate(specs))
  )


def loop(specs: Sequence[LayerSpec]) -> tuple[int, int, int]:
  """Returns which layers a loop of the compiled program runs, and its period.

  The others stand before and after it. The first may stand before, so that a
  first layer like no other does not make the loop as long as the encoder.

      >>> near, far = LayerSpec(window=2), LayerSpec()
      >>> loop([LayerSpec(norm_first=False), near, near, far, near, near, far])
      (1, 7, 3)
      >>> loop([far, near, near, far, near])
      (0, 3, 3)

  Args:
    specs: of all layers, one or more.

  Returns:
    the first layer within, the first behind, and the period, which divides
    their difference.
  """
  found = []
  for first in (0, 1) if len(specs) > 1 else (0,):
    length = period(specs[first:])
    end = len(specs) - (len(specs) - first) % length
    found.append((len(specs) - end + first + length, first, end, length))
  return min(found)[1:]
