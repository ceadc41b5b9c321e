"""The architecture of an encoder as one frozen, checked, hashable value.

    >>> config = EncoderConfig(vocabulary_size=30522, width=128, layers=2,
    ...                        heads=2, feed_forward=512)
    >>> config.head_width
    64
    >>> dataclasses.replace(config, dropout=0.0).attention_dropout_rate
    0.0

Source: Devlin et al. 2019, section 3 and google-research/bert `modeling.py`
(`BertConfig`). The published sizes are in `gin_configs/models/`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from bertjax.errors import Entry, UserError, choose
from bertjax.parallel import rules

DTYPES = ('float32', 'bfloat16', 'float16')
# What a field of EncoderConfig can change: the shapes of the parameters; what
# is computed with them, which shapes do not reveal; only how they are trained;
# or only how the program is made, with the same results but for rounding.
AFFECTED = ('shapes', 'computation', 'training', 'program')


def _affects(what: str, huggingface: str | None = None) -> dict[str, Any]:
  """Returns the metadata of a field of EncoderConfig.

  Args:
    what: a name in `AFFECTED`.
    huggingface: the attribute's name in config.json; None: it has none there.
  """
  return {'affects': what, 'huggingface': huggingface}


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
  """What determines an encoder's shapes and arithmetic.

  Attributes:
    vocabulary_size: V, number of tokens.
    vocabulary_multiple: the token table is padded to a multiple of this many
      rows; 128 suits the tiles of a TPU and every 'tensor' axis. Rows beyond V
      are never predicted.
    width: D, features of a position between layers.
    layers: N, attention and feed-forward pairs.
    heads: H; a head has width / heads features.
    feed_forward: F, features inside a feed-forward block.
    positions: rows of the position table; no sequence is longer.
    types: T, sentence types: 0 for A and padding, 1 for B.
    dropout: rate after the embeddings and after every block.
    attention_dropout: rate on attention weights; None: same as dropout.
    norm_epsilon: added to the variance in every layer norm.
    initializer_stddev: of the normal distribution that kernels and tables are
      drawn from, before it is truncated at two deviations.
    activation: a name in `feed_forward.ACTIVATIONS`.
    position_scheme: a name in `positions.SCHEMES`.
    norm: a name in `layers.NORMS`.
    block_order: where norms stand, a name in `encoder.BLOCK_ORDERS`.
    feed_forward_block: a name in `feed_forward.FEED_FORWARDS`.
    attention_rule: what may attend to what within a sequence, a name in
      `attention_mask.RULES`.
    layer_pattern: in what layers differ, a name in `layer_patterns.PATTERNS`.
    attention_kernel: a name in `kernels.KERNELS`.
    scan_layers: whether the compiled program loops over the layers instead of
      unrolling them: compiles faster, with the same parameters.
    recompute: what the backward pass recomputes to save memory, a name in
      `encoder.REMATERIALISATION`: 'nothing'; 'products', all but the products
      with parameters; or 'everything' within a layer.
    tied_decoder: whether the masked-LM head scores the vocabulary with the
      token table; if not, with a table of its own.
    dtype: of the products; softmax, norm statistics and logits stay float32.
      None: see `compute_dtype`.
    param_dtype: of the parameters.

  Raises:
    UserError: an impossible value; the message names the field to set.
  """

  vocabulary_size: int = field(metadata=_affects('shapes', 'vocab_size'))
  width: int = field(metadata=_affects('shapes', 'hidden_size'))
  layers: int = field(metadata=_affects('shapes', 'num_hidden_layers'))
  heads: int = field(metadata=_affects('shapes', 'num_attention_heads'))
  feed_forward: int = field(metadata=_affects('shapes', 'intermediate_size'))
  positions: int = field(
    default=512, metadata=_affects('shapes', 'max_position_embeddings')
  )
  types: int = field(default=2, metadata=_affects('shapes', 'type_vocab_size'))
  vocabulary_multiple: int = field(default=1, metadata=_affects('program'))
  dropout: float = field(
    default=0.1, metadata=_affects('training', 'hidden_dropout_prob')
  )
  attention_dropout: float | None = field(
    default=None, metadata=_affects('training', 'attention_probs_dropout_prob')
  )
  norm_epsilon: float = field(
    default=1e-12, metadata=_affects('computation', 'layer_norm_eps')
  )
  initializer_stddev: float = field(
    default=0.02, metadata=_affects('training', 'initializer_range')
  )
  activation: str = field(
    default='gelu', metadata=_affects('computation', 'hidden_act')
  )
  position_scheme: str = field(
    default='learned', metadata=_affects('computation')
  )
  norm: str = field(default='layer_norm', metadata=_affects('computation'))
  block_order: str = field(default='post', metadata=_affects('computation'))
  feed_forward_block: str = field(
    default='dense', metadata=_affects('computation')
  )
  attention_rule: str = field(default='all', metadata=_affects('computation'))
  layer_pattern: str = field(
    default='uniform', metadata=_affects('computation')
  )
  attention_kernel: str = field(default='auto', metadata=_affects('program'))
  scan_layers: bool = field(default=False, metadata=_affects('program'))
  recompute: str = field(default='nothing', metadata=_affects('program'))
  tied_decoder: bool = field(
    default=True, metadata=_affects('shapes', 'tie_word_embeddings')
  )
  dtype: str | None = field(default=None, metadata=_affects('program'))
  param_dtype: str = field(default='float32', metadata=_affects('program'))

  def __post_init__(self) -> None:
    for name in (
      one.name for one in dataclasses.fields(self) if one.type is int
    ):
      value = getattr(self, name)
      if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(
          f'expected a positive whole number, got {value!r}; '
          f'set EncoderConfig.{name}'
        )
    if self.width % self.heads:
      raise UserError(
        f'width {self.width} is not a multiple of heads '
        f'{self.heads}; set EncoderConfig.heads'
      )
    for name in ('dropout', 'attention_dropout'):
      rate = getattr(self, name)
      if name == 'attention_dropout' and rate is None:
        continue
      if not _is_number(rate) or not 0.0 <= rate < 1.0:
        raise UserError(
          f'expected a rate of at least 0 and below 1, got '
          f'{rate!r}; set EncoderConfig.{name}'
        )
    for name in ('norm_epsilon', 'initializer_stddev'):
      value = getattr(self, name)
      if not _is_number(value) or not value > 0.0:
        raise UserError(
          f'expected a number above 0, got {value!r}; set EncoderConfig.{name}'
        )
    for name in ('dtype', 'param_dtype'):
      if name == 'dtype' and self.dtype is None:
        continue
      if getattr(self, name) not in DTYPES:
        raise UserError(
          f'expected one of {", ".join(DTYPES)}, got '
          f'{getattr(self, name)!r}; set EncoderConfig.{name}'
        )

  def choose(self, table: Mapping[str, Entry], name: str) -> Entry:
    """Returns the entry of a table that the field `name` names.

    Raises:
      UserError: no such entry; the message says the nearest.
    """
    return choose(table, getattr(self, name), f'EncoderConfig.{name}')

  @property
  def head_width(self) -> int:
    """K, features of one head."""
    return self.width // self.heads

  @property
  def vocabulary_rows(self) -> int:
    """Rows of the token table: V plus padding."""
    return (
      -(-self.vocabulary_size // self.vocabulary_multiple)
      * self.vocabulary_multiple
    )

  @property
  def compute_dtype(self) -> str:
    """`dtype`, or if that is None the fastest one on this platform.

    bfloat16 on a TPU or GPU. float32 on a CPU: without instructions for
    bfloat16, products in it are several times slower (experiments/LOG.md).
    """
    if self.dtype is not None:
      return self.dtype
    return 'float32' if rules.platform() == 'cpu' else 'bfloat16'

  @property
  def attention_dropout_rate(self) -> float:
    """`attention_dropout`, or `dropout` if that is None."""
    if self.attention_dropout is None:
      return self.dropout
    return self.attention_dropout


def fields_affecting(*what: str) -> tuple[str, ...]:
  """Returns the names of the fields of EncoderConfig that change any of these.

      >>> fields_affecting('training')
      ('dropout', 'attention_dropout', 'initializer_stddev')

  Args:
    what: names in `AFFECTED`.
  """
  return tuple(
    one.name
    for one in dataclasses.fields(EncoderConfig)
    if one.metadata['affects'] in what
  )


def computation(config: EncoderConfig) -> dict[str, Any]:
  """Returns the fields that change what equal parameters compute."""
  names = fields_affecting('computation')
  return {name: getattr(config, name) for name in names}


def _is_number(value: object) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)
