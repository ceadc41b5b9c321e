"""ModernBERT: rotary positions, gates, local and global attention.

    rows = list(MODERNBERT.encoder_rows(config))

transformers 4 says with one number which layers are global, and the bases of
the rotation with two; 5 has a list of layers and a table. Both are read, and
both are written. Source: transformers `modular_modernbert.py`, of 5.24, and the
config.json of answerdotai/ModernBERT-base.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.interop.family import (
  ACTIVATIONS,
  SIZES,
  Family,
  Row,
  embedding,
  linear,
  norm,
)
from bertjax.models.config import EncoderConfig, Layers
from bertjax.values import Count, Positive, fits

_GLOBAL, _LOCAL = 'full_attention', 'sliding_attention'
# Kind of layer -> the attribute of transformers 4 with its base.
_BASES = {_GLOBAL: 'global_rope_theta', _LOCAL: 'local_rope_theta'}
_EVERY = 'global_attn_every_n_layers'


def _layer(config: EncoderConfig) -> list[Row]:
  """Returns the rows of a layer, but for the names of the layer."""
  qkv = tuple(f'attention/{name}' for name in ('query', 'key', 'value'))
  gated = ('feed_forward/gate', 'feed_forward/input')
  bias, in_products = config.attention_bias, config.feed_forward_bias
  return [
    *norm('attention_norm', 'attn_norm', config.norm_bias),
    *linear(qkv, 'attn.Wqkv', 'D', 'HK', bias),
    *linear('attention/output', 'attn.Wo', 'HK', 'D', bias),
    *norm('feed_forward_norm', 'mlp_norm', config.norm_bias),
    *linear(gated, 'mlp.Wi', 'D', 'F', in_products),
    *linear('feed_forward/output', 'mlp.Wo', 'F', 'D', in_products),
  ]


def _rows(config: EncoderConfig) -> Iterator[Row]:
  bias = config.norm_bias
  yield embedding('token', 'model.embeddings.tok_embeddings', 'V')
  yield from norm('embeddings/norm', 'model.embeddings.norm', bias)
  for index in range(config.layers):
    for row in _layer(config):
      # The first layer has the norm of the embeddings.
      if index or not row.theirs.startswith('attn_norm'):
        yield row.below(f'encoder/layer_{index:02}', f'model.layers.{index}')
  yield from norm('encoder/final_norm', 'model.final_norm', bias)


def _head_rows(
  config: EncoderConfig, head: str, heads: Sequence[str]
) -> list[Row]:
  if head == 'prediction_head':
    path = 'prediction_head'
    return [
      *linear(f'{path}/dense', 'head.dense', 'D', 'D', config.head_bias),
      *norm(f'{path}/norm', 'head.norm', config.norm_bias),
    ]
  if head == 'mlm_head':
    bias = Row(('mlm_head/bias',), 'decoder.bias', 'V')
    return [bias] if config.decoder_bias else []
  # Heads for sequences, tags and spans have one name there.
  return linear(head, 'classifier', 'D', '2' if head == 'span_head' else 'C')


def _read(attributes: Mapping[str, Any], path: str) -> dict[str, Any]:
  bases = {kind: _base(attributes, kind, path) for kind in _BASES}
  fields: dict[str, Any] = {'rotary_base': bases[_GLOBAL]}
  every = _global_every(attributes, path)
  if every == 1:  # no layer has a window
    return fields
  return fields | {
    'layer_pattern': 'local_global',
    'local_window': attributes['local_attention'],
    'global_every': every,
    'local_rotary_base': bases[_LOCAL],
  }


def _global_every(attributes: Mapping[str, Any], path: str) -> int:
  """Returns n of 'every n-th layer is global'."""
  layers, every = attributes['num_hidden_layers'], attributes.get(_EVERY)
  kinds = attributes.get('layer_types')
  if every is not None and not fits(every, Count):
    raise _refusal(_EVERY, 'a whole number of at least 1', every, path)
  if kinds is None or not fits(layers, Layers):  # that is refused later
    return 3 if every is None else every
  for n in range(1, layers + 1) if every is None else [every]:
    if kinds == _kinds(layers, n):
      return n
  what = f'{layers} layers of which every n-th is {_GLOBAL}, others {_LOCAL}'
  if every is not None:
    what += f', with n = {_EVERY} = {every}'
  raise _refusal('layer_types', what, kinds, path)


def _kinds(layers: int, every: int) -> list[str]:
  return [_LOCAL if i % every else _GLOBAL for i in range(layers)]


def _base(attributes: Mapping[str, Any], kind: str, path: str) -> float:
  """Returns the base of the rotation in layers of a kind."""
  table = attributes.get('rope_parameters') or {}
  if unknown := sorted(map(str, table.keys() - _BASES.keys())):
    what = f'{_GLOBAL} and {_LOCAL}'
    raise _refusal('rope_parameters', what, ', '.join(unknown), path)
  own = table.get(kind) or {}
  name = f'rope_parameters.{kind}'
  if not isinstance(own, dict):
    raise _refusal(name, 'rope_type and rope_theta', own, path)
  plain = {'rope_type': 'default', 'partial_rotary_factor': 1.0}
  for key, value in own.items():
    if key != 'rope_theta' and (key not in plain or value != plain[key]):
      what = "nothing but rope_type 'default' and rope_theta"
      raise _refusal(name, what, {key: value}, path)
  base = own.get('rope_theta', attributes[_BASES[kind]])
  if base is None and kind == _LOCAL:
    return _base(attributes, _GLOBAL, path)
  if not fits(base, Positive):
    raise _refusal(_BASES[kind], 'a number above 0', base, path)
  return float(base)


def _refusal(name: str, what: str, got: Any, path: str) -> UserError:
  return UserError(
    f'expected {name} of {what}, got {got!r:.80} in {path}; choose another '
    'checkpoint, or mend it there'
  )


def _write(
  config: EncoderConfig, id_of: Callable[[str], int]
) -> dict[str, Any]:
  every = 1 if config.layer_pattern == 'uniform' else config.global_every
  bases = {
    _GLOBAL: config.rotary_base,
    _LOCAL: config.local_rotary_base or config.rotary_base,
  }
  return {
    _EVERY: every,
    'layer_types': _kinds(config.layers, every),
    'local_attention': config.local_window or 128,
    'mlp_dropout': config.dropout,
    'rope_parameters': {
      kind: {'rope_type': 'default', 'rope_theta': base}
      for kind, base in bases.items()
    },
    **{_BASES[kind]: base for kind, base in bases.items()},
  }


MODERNBERT = Family(
  title='ModernBERT',
  prefix='ModernBert',
  base='model.',
  classes={
    (): 'Model',
    ('prediction_head', 'mlm_head'): 'ForMaskedLM',
    ('prediction_head', 'classifier'): 'ForSequenceClassification',
    ('prediction_head', 'tag_head'): 'ForTokenClassification',
    ('prediction_head', 'span_head'): 'ForQuestionAnswering',
  },
  needs=dict.fromkeys(
    ('mlm_head', 'classifier', 'tag_head', 'span_head'), 'prediction_head'
  ),
  encoder_rows=_rows,
  head_rows=_head_rows,
  fields=SIZES
  | {
    'max_position_embeddings': 'positions',
    # Deviation: there it follows the embeddings alone; here blocks as well.
    'embedding_dropout': 'dropout',
    'attention_dropout': 'attention_dropout',
    'norm_eps': 'norm_epsilon',
    'norm_bias': 'norm_bias',
    'attention_bias': 'attention_bias',
    'mlp_bias': 'feed_forward_bias',
    'classifier_bias': 'head_bias',
    'decoder_bias': 'decoder_bias',
  },
  named={
    'hidden_activation': ('activation', ACTIVATIONS),
    'classifier_activation': ('head_activation', ACTIVATIONS),
    'classifier_pooling': ('task_pooling', {'cls': 'cls', 'mean': 'mean'}),
  },
  fixed={
    'types': 0,
    'initializer': 'megatron',
    'position_scheme': 'rotary',
    'block_order': 'pre',
    'first_norm': False,
    'feed_forward_block': 'gated',
    'shared_head': True,
  },
  read=_read,
  write=_write,
  stays=(0.0,),  # no dropout of attention, whatever a run's dropout is
  defaults={
    'vocab_size': 50368,
    'hidden_size': 768,
    'num_hidden_layers': 22,
    'num_attention_heads': 12,
    'intermediate_size': 1152,
    'max_position_embeddings': 8192,
    'initializer_range': 0.02,
    'embedding_dropout': 0.0,
    'attention_dropout': 0.0,
    'norm_eps': 1e-5,
    'norm_bias': False,
    'attention_bias': False,
    'mlp_bias': False,
    'classifier_bias': False,
    'decoder_bias': True,
    'hidden_activation': 'gelu',
    'classifier_activation': 'gelu',
    'classifier_pooling': 'cls',
    'local_attention': 128,
    'global_rope_theta': 160000.0,
    'local_rope_theta': 10000.0,
  },
  ids={
    'pad_token_id': 'pad',
    'bos_token_id': 'cls',
    'cls_token_id': 'cls',
    'eos_token_id': 'sep',
    'sep_token_id': 'sep',
  },
  forms={
    'hidden_activation': str,
    'classifier_activation': str,
    'classifier_pooling': str,
    'layer_types': list,
    'rope_parameters': dict,
  },
  only={'rope_scaling': None},
  without_effect=frozenset(
    """
      deterministic_flash_attn initializer_cutoff_factor layer_norm_eps
      mlp_dropout position_embedding_type reference_compile
      repad_logits_with_grad sparse_pred_ignore_index sparse_prediction
  """.split()
  ),
  names={
    'rotary_base': _BASES[_GLOBAL],
    'local_rotary_base': _BASES[_LOCAL],
    'local_window': 'local_attention',
    'global_every': _EVERY,
  },
  token_table='model.embeddings.tok_embeddings.weight',
  decoder='decoder.weight',
)
