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
    position_base: for the position scheme; None: the scheme's own.
  """

  rule: str
  position_base: float | None = None


def uniform(config: EncoderConfig, index: int) -> LayerSpec:
  """The same in all layers: the rule of the configuration."""
  return LayerSpec(config.attention_rule)


# (configuration, index of a layer) -> LayerSpec. Other code may add entries.
PATTERNS: dict[str, Callable[[EncoderConfig, int], LayerSpec]] = {
  'uniform': uniform
}


def specs(config: EncoderConfig) -> tuple[LayerSpec, ...]:
  """Returns the LayerSpec of each layer."""
  pattern = config.choose(PATTERNS, 'layer_pattern')
  return tuple(pattern(config, index) for index in range(config.layers))


def period(specs: Sequence[LayerSpec]) -> int:
  """Returns after how many layers they repeat, the last time maybe cut off.

  >>> near, far = LayerSpec('near'), LayerSpec('far')
  >>> period([far, near, near, far, near]), period([far, near, near])
  (3, 3)
  """
  return next(
    length
    for length in range(1, len(specs) + 1)
    if all(spec == specs[i % length] for i, spec in enumerate(specs))
  )
