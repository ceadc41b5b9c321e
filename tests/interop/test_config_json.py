"""What a config.json cannot say is refused, whichever field says it."""

import dataclasses
import json

import pytest

from bertjax.errors import UserError
from bertjax.interop import config_json
from bertjax.interop.bert_like import BERT, ROBERTA
from bertjax.interop.modernbert import MODERNBERT
from bertjax.models.config import NEEDS, EncoderConfig, fields_affecting

SIZES = {
  'vocabulary_size': 60,
  'width': 12,
  'layers': 4,
  'heads': 3,
  'feed_forward': 20,
  'positions': 40,
}
CONFIG = EncoderConfig(**SIZES)
MODERN = EncoderConfig(
  **SIZES,
  types=0,
  position_scheme='rotary',
  rotary_base=160000.0,
  local_rotary_base=10000.0,
  norm_bias=False,
  attention_bias=False,
  feed_forward_bias=False,
  head_bias=False,
  block_order='pre',
  first_norm=False,
  feed_forward_block='gated',
  layer_pattern='local_global',
  local_window=8,
  shared_head=True,
  task_pooling='mean',
  initializer='megatron',
)
# A configuration of each family, by model_type.
CONFIGS = {
  'bert': CONFIG,
  'roberta': dataclasses.replace(CONFIG, types=1, initializer='normal'),
  'modernbert': MODERN,
}
FIELDS = fields_affecting('shapes', 'computation')
# Another value of each field that neither sizes nor numbers are.
OTHERS = {
  'types': (0, 1, 2, 3),
  'activation': ('gelu', 'gelu_tanh', 'silu', 'relu', 'mish'),
  'head_activation': (None, 'gelu', 'relu', 'mish'),
  'position_scheme': ('learned', 'rotary', 'alibi', 'sinusoidal'),
  'norm': ('layer_norm', 'rms_norm'),
  'block_order': ('pre', 'post'),
  'feed_forward_block': ('dense', 'gated'),
  'attention_rule': ('all', 'causal'),
  'layer_pattern': ('uniform', 'local_global'),
  'task_pooling': ('cls', 'mean', 'max'),
  'norm_epsilon': (1e-5, 0.5),
  'rotary_base': (3.0, 160000.0),
  'local_rotary_base': (None, 3.0, 160000.0),
  'local_window': (None, 2, 8),
  'global_every': (1, 2, 3, 7),
}


@pytest.mark.parametrize('name', CONFIGS)
def test_what_config_json_says_of_a_family_is_what_was_written(name):
  config = CONFIGS[name]
  attributes = config_json.from_encoder(config, lambda role: 7)
  assert attributes['model_type'] == name and attributes['pad_token_id'] == 7
  assert json.loads(json.dumps(attributes)) == attributes
  assert config_json.to_encoder(attributes, 'config.json') == config


@pytest.mark.parametrize('field', FIELDS)
@pytest.mark.parametrize('name', CONFIGS)
def test_a_field_comes_back_or_is_refused_by_name(name, field):
  """So nothing that changes what is computed goes through in silence."""
  config = CONFIGS[name]
  before = getattr(config, field)
  values = OTHERS.get(field, (not before,))
  if type(before) is int and field not in OTHERS:
    values = (2 * before,) if field in ('width', 'positions') else (1, 3)
  tried = 0
  for value in values:
    try:
      other = dataclasses.replace(config, **{field: value})
    except UserError:  # which has no effect here
      continue
    tried += 1
    try:
      attributes = config_json.from_encoder(other)
    except UserError as error:
      line = str(error)
      assert f'{field} {value!r} (only ' in line and '\n' not in line
      continue
    back = config_json.to_encoder(attributes, 'config.json')
    for each in FIELDS:
      wanted, found = (effective(x, each) for x in (other, back))
      assert found == wanted or each == 'tied_decoder', each
  assert tried or field in NEEDS


def effective(config, name):
  follows = {
    'head_activation': 'activation',
    'local_rotary_base': 'rotary_base',
  }
  value = getattr(config, name)
  is_free = value is None and name in follows
  return getattr(config, follows[name]) if is_free else value


@pytest.mark.parametrize(
  'name, change, line',
  [
    (
      'bert',
      {'position_scheme': 'alibi'},
      "BERT with position_scheme 'alibi' (only 'learned')",
    ),
    (
      'bert',
      {'activation': 'mish'},
      "BERT with activation 'mish' (only gelu, gelu_tanh, relu, silu)",
    ),
    (
      'modernbert',
      {'norm': 'rms_norm'},
      "ModernBERT with norm 'rms_norm' (only 'layer_norm')",
    ),
    (
      'modernbert',
      {'query_key_norm': True, 'task_pooling': 'max'},
      "ModernBERT with task_pooling 'max' (only cls, mean), query_key_norm "
      'True (only False)',
    ),
    (
      'modernbert',
      {'layer_pattern': 'uniform', 'local_rotary_base': None},
      'ModernBERT with local_window 8 (only None)',
    ),
    ('modernbert', {'types': 2}, 'ModernBERT with types 2 (only 0)'),
    (
      'roberta',
      {'embedding_norm': False},
      'RoBERTa with embedding_norm False (only True)',
    ),
  ],
)
def test_what_no_family_has_is_refused_by_what_differs_from_the_nearest(
  name, change, line
):
  config = dataclasses.replace(CONFIGS[name], **change)
  with pytest.raises(UserError) as caught:
    config_json.from_encoder(config)
  assert str(caught.value) == (
    f'transformers has no {line}, so this model cannot be exported'
  )


def test_a_head_with_another_activation_is_berts_with_one_type():
  """RoBERTa's has gelu always."""
  config = dataclasses.replace(CONFIGS['roberta'], activation='relu')
  assert config_json.family_of(config) is BERT
  config = dataclasses.replace(config, head_activation='gelu')
  assert config_json.family_of(config) is ROBERTA
  assert config_json.family_of(MODERN) is MODERNBERT


def test_all_layers_may_be_global():
  config = dataclasses.replace(
    MODERN, layer_pattern='uniform', local_window=None, local_rotary_base=None
  )
  attributes = config_json.from_encoder(config)
  assert attributes['layer_types'] == ['full_attention'] * 4
  assert attributes['global_attn_every_n_layers'] == 1
  assert config_json.to_encoder(attributes, 'config.json') == config


def test_what_config_json_says_of_a_field_is_what_was_written():
  """Also of fields that change the computation."""
  config = dataclasses.replace(
    CONFIG, norm_epsilon=1e-5, activation='relu', initializer_stddev=0.5
  )
  attributes = config_json.from_encoder(config)
  assert attributes['layer_norm_eps'] == 1e-5
  assert attributes['hidden_act'] == 'relu'
  assert config_json.to_encoder(attributes, 'config.json') == config


# As answerdotai/ModernBERT-base has it, of transformers 4.
PUBLISHED = {
  'architectures': ['ModernBertForMaskedLM'],
  'attention_bias': False,
  'attention_dropout': 0.0,
  'bos_token_id': 50281,
  'classifier_activation': 'gelu',
  'classifier_bias': False,
  'classifier_dropout': 0.0,
  'classifier_pooling': 'mean',
  'cls_token_id': 50281,
  'decoder_bias': True,
  'deterministic_flash_attn': False,
  'embedding_dropout': 0.0,
  'eos_token_id': 50282,
  'global_attn_every_n_layers': 3,
  'global_rope_theta': 160000.0,
  'gradient_checkpointing': False,
  'hidden_activation': 'gelu',
  'hidden_size': 768,
  'initializer_cutoff_factor': 2.0,
  'initializer_range': 0.02,
  'intermediate_size': 1152,
  'layer_norm_eps': 1e-05,
  'local_attention': 128,
  'local_rope_theta': 10000.0,
  'max_position_embeddings': 8192,
  'mlp_bias': False,
  'mlp_dropout': 0.0,
  'model_type': 'modernbert',
  'norm_bias': False,
  'norm_eps': 1e-05,
  'num_attention_heads': 12,
  'num_hidden_layers': 22,
  'pad_token_id': 50283,
  'position_embedding_type': 'absolute',
  'repad_logits_with_grad': False,
  'sep_token_id': 50282,
  'sparse_pred_ignore_index': -100,
  'sparse_prediction': False,
  'tie_word_embeddings': True,
  'torch_dtype': 'float32',
  'transformers_version': '4.47.0.dev0',
  'vocab_size': 50368,
}
NEW = {
  'layer_types': [
    'sliding_attention' if i % 3 else 'full_attention' for i in range(22)
  ],
  'rope_parameters': {
    'full_attention': {'rope_theta': 160000.0, 'rope_type': 'default'},
    'sliding_attention': {'rope_theta': 10000.0, 'rope_type': 'default'},
  },
}
OLD_NAMES = ('global_attn_every_n_layers', 'global_rope_theta') + (
  'local_rope_theta',
)


def test_the_published_modernbert_is_understood_as_either_version_writes_it():
  config = config_json.to_encoder(PUBLISHED, 'config.json')
  assert (config.local_window, config.global_every) == (128, 3)
  assert (config.rotary_base, config.local_rotary_base) == (160000.0, 10000.0)
  assert config.task_pooling == 'mean' and config.head_activation is None
  new = {k: x for k, x in PUBLISHED.items() if k not in OLD_NAMES} | NEW
  assert config_json.to_encoder(new, 'config.json') == config
  assert config_json.to_encoder(PUBLISHED | NEW, 'config.json') == config
  attributes = config_json.from_encoder(config)
  assert NEW.items() <= attributes.items()
  assert {x: PUBLISHED[x] for x in OLD_NAMES}.items() <= attributes.items()


@pytest.mark.parametrize(
  'name, change, words',
  [
    ('modernbert', {'rope_scaling': {'type': 'linear'}}, 'rope_scaling = None'),
    (
      'modernbert',
      {'rope_parameters': {'full_attention': {'rope_type': 'yarn'}}},
      "rope_parameters.full_attention of nothing but.*'yarn'",
    ),
    ('modernbert', {'rope_parameters': {'all': {}}}, "rope_parameters.*'all'"),
    (
      'modernbert',
      {'rope_parameters': {'sliding_attention': 7}},
      'rope_parameters.sliding_attention of rope_type and rope_theta, got 7',
    ),
    ('modernbert', {'layer_types': ['full_attention'] * 3}, 'layer_types of'),
    (
      'modernbert',
      {'layer_types': ['sliding_attention'] * 4},
      'layer_types of 4 layers of which every n-th is full_attention',
    ),
    ('modernbert', {'global_attn_every_n_layers': 2}, 'layer_types of.*n = g'),
    ('modernbert', {'global_attn_every_n_layers': 0}, 'global_attn_ev.*got 0'),
    ('modernbert', {'global_rope_theta': -1, 'rope_parameters': None}, '-1 in'),
    ('modernbert', {'hidden_activation': 'xielu'}, 'hidden_activation'),
    ('modernbert', {'classifier_activation': 'xielu'}, 'classifier_activation'),
    ('modernbert', {'classifier_pooling': 'max'}, 'classifier_pooling'),
    ('modernbert', {'local_attention': 7}, 'even window.*local_attention'),
    ('modernbert', {'local_attention': 42}, 'within the 40 pos.*local_attent'),
    ('modernbert', {'num_attention_heads': 5}, 'num_attention_heads'),
    ('modernbert', {'num_hidden_layers': 'two'}, 'num_hidden_layers'),
    ('modernbert', {'num_hidden_layers': 10**9}, 'num_hidden_layers'),
    ('modernbert', {'norm_bias': 'no'}, 'norm_bias'),
    ('modernbert', {'is_decoder': True}, 'is_decoder = False'),
    ('modernbert', {'qk_norm': True}, 'not understood, qk_norm = True'),
    ('roberta', {'is_decoder': True}, 'is_decoder = False, as RoBERTa has it'),
    ('roberta', {'position_embedding_type': 'relative_key'}, 'relative_key'),
    ('roberta', {'hidden_act': 'mish'}, "'mish'.*hidden_act"),
    ('roberta', {'pad_token_id': None}, 'pad_token_id to be a whole number'),
    ('roberta', {'max_position_embeddings': 2}, 'max_position_embeddings'),
    ('roberta', {'max_position_embeddings': '40'}, "number, .* got '40'"),
    ('roberta', {'norm_eps': 1e-5}, 'not understood, norm_eps'),
    ('roberta', {'model_type': 'deberta-v2'}, "got 'deberta-v2' in .*RoBERTa"),
    ('roberta', {'model_type': 'electra'}, 'choose a checkpoint of BERT, Mod'),
    ('bert', {'model_type': None}, 'bert, modernbert, roberta, got None'),
    ('bert', {'rope_parameters': {}}, 'not understood, rope_parameters'),
  ],
)
def test_an_attribute_that_changes_the_model_is_refused_in_one_line(
  name, change, words
):
  attributes = config_json.from_encoder(CONFIGS[name], lambda role: 2) | change
  with pytest.raises(UserError, match=words) as caught:
    config_json.to_encoder(attributes, 'model/config.json')
  line = str(caught.value)
  assert 'model/config.json' in line and '\n' not in line and len(line) < 400
  assert 'EncoderConfig' not in line


@pytest.mark.parametrize(
  'name, value',
  [
    ('vocab_size', True),
    ('hidden_size', '12'),
    ('hidden_size', 0),
    ('num_attention_heads', 5),
    ('num_hidden_layers', 10**9),
    ('num_hidden_layers', 1001),
    ('model_type', 'bert' * 10**6),
    ('is_decoder', [[]] * 10**6),
    ('a' * 39, [[]] * 10**6),
    ('intermediate_size', None),
    ('max_position_embeddings', 1.5),
    ('type_vocab_size', [2]),
    ('hidden_dropout_prob', '0.1'),
    ('attention_probs_dropout_prob', 1.0),
    ('layer_norm_eps', float('inf')),
    ('initializer_range', 0),
    ('hidden_act', ['gelu']),
    ('architectures', 'BertModel'),
    ('id2label', ['no', 'yes']),
    ('problem_type', 1),
    ('tie_word_embeddings', 'false'),
  ],
)
def test_a_wrong_value_is_one_line_with_its_attribute(name, value):
  attributes = config_json.from_encoder(CONFIG) | {name: value}
  with pytest.raises(UserError) as caught:
    config_json.to_encoder(attributes, 'model/config.json')
  line = str(caught.value)
  assert name in line and 'model/config.json' in line and '\n' not in line
  assert len(line) < 300
  assert 'EncoderConfig' not in line


@pytest.mark.parametrize('name', CONFIGS)
def test_every_attribute_has_a_default_of_transformers(name):
  family = config_json.FAMILIES[name]
  assert {*family.fields, *family.named} <= set(family.defaults)
  config = config_json.to_encoder({'model_type': name}, 'config.json')
  assert config.width == 768


@pytest.mark.parametrize('name, found', [('bert', None), ('modernbert', 0.0)])
def test_a_modernbert_without_dropout_of_attention_stays_so(name, found):
  """Others follow the dropout that a run sets."""
  rates = 'hidden_dropout_prob', 'attention_probs_dropout_prob'
  if name == 'modernbert':
    rates = 'embedding_dropout', 'attention_dropout'
  attributes = {'model_type': name, **dict.fromkeys(rates, 0.0)}
  config = config_json.to_encoder(attributes, 'config.json')
  assert config.attention_dropout == found
