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
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from bertjax.errors import Entry, UserError, choose, expect
from bertjax.parallel import rules
from bertjax.values import (
  Count,
  Natural,
  Positive,
  Rate,
  check_fields,
  checked,
)

Dtype = Literal['float32', 'bfloat16', 'float16']
# No BERT has more. With a million times as many, their names alone would fill
# the memory.
Layers = Annotated[int, Ge(1), Le(1000)]
# Field -> the field that gives it an effect, but not if that has its default.
NEEDS = {
  'first_norm': 'block_order',
  'final_norm': 'block_order',
  'rotary_base': 'position_scheme',
  'local_rotary_base': 'layer_pattern',
  'global_every': 'layer_pattern',
}
# Position schemes of `positions.SCHEMES` that turn nothing.
_NOT_ROTARY = ('none', 'sinusoidal', 'scaled_sinusoidal', 'alibi')
# What a field of EncoderConfig can change: the shapes of the parameters; what
# is computed with them, which shapes do not reveal; only how they are trained;
# or only how the program is made, with the same results but for rounding.
AFFECTED = ('shapes', 'computation', 'training', 'program')


def _field(affects: str, default: Any = dataclasses.MISSING) -> Any:
  """Makes a field of EncoderConfig.

  Args:
    affects: a name in `AFFECTED`.
    default: the field's; if it is None, the field may be None.
  """
  return dataclasses.field(default=default, metadata={'affects': affects})


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
    types: T, sentence types: 0 for A and padding, 1 for B; with 1, as RoBERTa,
      all are of type 0; with 0, as ModernBERT, there is no table of them.
    dropout: rate after the embeddings and after every block.
    attention_dropout: rate on attention weights; None: same as dropout.
    norm_epsilon: added to the variance in every layer norm.
    initializer_stddev: of the normal distribution that kernels and tables are
      drawn from, before it is truncated at two deviations.
    initializer: how it depends on the kernel, a name in `layers.INITIALIZERS`.
    activation: a name in `feed_forward.ACTIVATIONS`.
    head_activation: of the masked-LM head; None: `activation`.
    position_scheme: a name in `positions.SCHEMES`.
    rotary_base: of rotary positions, b in the rates b ** (-2i / K).
    local_rotary_base: in layers with a window; None: `rotary_base`.
    norm: a name in `layers.NORMS`.
    norm_bias, attention_bias, feed_forward_bias, head_bias, decoder_bias:
      whether there are biases in layer norms, in the products of attention and
      of feed-forward blocks, in the dense layer of the masked-LM head, and on
      the logits of the vocabulary.
    query_key_norm: whether a norm over K follows the projections to queries and
      to keys (Henry et al. 2020).
    block_order: where norms stand, a name in `encoder.BLOCK_ORDERS`.
    embedding_norm: whether a norm follows the embeddings.
    first_norm: of pre-norm, whether one precedes the first attention, too;
      ModernBERT's does not, since the embeddings end in one.
    final_norm: of pre-norm, whether one follows the last layer.
    feed_forward_block: a name in `feed_forward.FEED_FORWARDS`.
    attention_rule: what may attend to what within a sequence, a name in
      `attention_mask.RULES`.
    layer_pattern: in what layers differ, a name in `layer_patterns.PATTERNS`.
    local_window: a token attends to those at most local_window / 2 away, in the
      layers that the pattern says; None: to all.
    global_every: of the pattern 'local_global', the layers 0, global_every,
      2 * global_every, ... have no window.
    shared_head: whether a task's head begins with the dense layer and the norm
      of the masked-LM head (ModernBERT), and not with a pooler (BERT).
    task_pooling: what a head for whole sequences reads, a name in
      `poolings.POOLINGS`.
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

  vocabulary_size: Count = _field('shapes')
  width: Count = _field('shapes')
  layers: Layers = _field('shapes')
  heads: Count = _field('shapes')
  feed_forward: Count = _field('shapes')
  positions: Count = _field('shapes', 512)
  types: Natural = _field('shapes', 2)
  vocabulary_multiple: Count = _field('program', 1)
  dropout: Rate = _field('training', 0.1)
  attention_dropout: Rate | None = _field('training', None)
  norm_epsilon: Positive = _field('computation', 1e-12)
  initializer_stddev: Positive = _field('training', 0.02)
  initializer: str = _field('training', 'truncated_normal')
  activation: str = _field('computation', 'gelu')
  head_activation: str | None = _field('computation', None)
  position_scheme: str = _field('computation', 'learned')
  rotary_base: Positive = _field('computation', 10000.0)
  local_rotary_base: Positive | None = _field('computation', None)
  norm: str = _field('computation', 'layer_norm')
  norm_bias: bool = _field('shapes', True)
  attention_bias: bool = _field('shapes', True)
  feed_forward_bias: bool = _field('shapes', True)
  head_bias: bool = _field('shapes', True)
  decoder_bias: bool = _field('shapes', True)
  query_key_norm: bool = _field('shapes', False)
  block_order: str = _field('computation', 'post')
  embedding_norm: bool = _field('shapes', True)
  first_norm: bool = _field('shapes', True)
  final_norm: bool = _field('shapes', True)
  feed_forward_block: str = _field('computation', 'dense')
  attention_rule: str = _field('computation', 'all')
  layer_pattern: str = _field('computation', 'uniform')
  local_window: Count | None = _field('computation', None)
  global_every: Count = _field('computation', 3)
  shared_head: bool = _field('shapes', False)
  task_pooling: str = _field('computation', 'cls')
  attention_kernel: str = _field('program', 'auto')
  scan_layers: bool = _field('program', False)
  recompute: str = _field('program', 'nothing')
  tied_decoder: bool = _field('shapes', True)
  dtype: Dtype | None = _field('program', None)
  param_dtype: Dtype = _field('program', 'float32')

  def __post_init__(self) -> None:
    check_fields(self)
    if self.width % self.heads:
      raise UserError(
        f'width {self.width} is not a multiple of heads '
        f'{self.heads}; set EncoderConfig.heads'
      )
    window = self.local_window
    expect(
      window is None or (window % 2 == 0 and window <= self.positions),
      f'an even window within the {self.positions} positions of the model',
      window,
      'EncoderConfig.local_window',
    )
    what = f'a window for layer_pattern {self.layer_pattern!r}'
    fits = window is not None or self.layer_pattern != 'local_global'
    expect(fits, what, window, 'EncoderConfig.local_window')
    default = {field.name: field.default for field in dataclasses.fields(self)}
    for name, needed in NEEDS.items():
      without = getattr(self, needed)
      used = without != default[needed] and without not in _NOT_ROTARY
      if not used and getattr(self, name) != default[name]:
        raise UserError(
          f'{name} {getattr(self, name)!r} has no effect with {needed} '
          f'{without!r}; set EncoderConfig.{needed}, or leave it out'
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
    multiple = self.vocabulary_multiple
    return -(-self.vocabulary_size // multiple) * multiple

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
  def kept_attention_dropout(self) -> float | None:
    """What training that starts from this model sets `attention_dropout` to.

    A model that was made without any stays so: kernels that never form the
    weights, and alone reach long rows, cannot drop them. Others follow.
    """
    return 0.0 if self.attention_dropout == 0.0 else None

  @property
  def attention_dropout_rate(self) -> float:
    """`attention_dropout`, or `dropout` if that is None."""
    rate = self.attention_dropout
    return self.dropout if rate is None else rate


@checked
def published_vocabulary(size: Count = 30522) -> int:
  """Returns the size of the vocabulary that a model was published with.

  For plans, which have no text; the files of models bind it.

  Args:
    size: by default that of BERT, uncased English.
  """
  return size


def fields_affecting(*what: str) -> tuple[str, ...]:
  """Returns the names of the fields of EncoderConfig that change any of these.

      >>> fields_affecting('training')
      ('dropout', 'attention_dropout', 'initializer_stddev', 'initializer')

  Args:
    what: names in `AFFECTED`.
  """
  fields = dataclasses.fields(EncoderConfig)
  return tuple(one.name for one in fields if one.metadata['affects'] in what)


def computation(config: EncoderConfig) -> dict[str, Any]:
  """Returns the fields that change what equal parameters compute."""
  names = fields_affecting('computation')
  return {name: getattr(config, name) for name in names}
