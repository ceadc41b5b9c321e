"""What a config.json cannot say is refused, whichever field says it."""

import dataclasses

import pytest

from bertjax.errors import UserError
from bertjax.interop import config_json
from bertjax.models.config import EncoderConfig, fields_affecting

CONFIG = EncoderConfig(
  vocabulary_size=60, width=12, layers=2, heads=3, feed_forward=20
)
WITHOUT_NAME = [
  field.name
  for field in dataclasses.fields(EncoderConfig)
  if field.name in fields_affecting('shapes', 'computation')
  and field.metadata['huggingface'] is None
]


def test_every_attribute_has_a_default_of_transformers():
  assert set(config_json.FIELDS) == set(config_json.DEFAULTS)


@pytest.mark.parametrize('name', WITHOUT_NAME)
def test_a_field_that_config_json_does_not_have_is_refused_unless_it_is_berts(
  name,
):
  config = dataclasses.replace(CONFIG, **{name: 'another'})
  with pytest.raises(UserError) as caught:
    config_json.from_encoder(config)
  default = getattr(CONFIG, name)
  assert str(caught.value) == (
    f"transformers has no BERT with {name} 'another' (only {default!r}), so "
    'this model cannot be exported'
  )


def test_the_position_scheme_is_such_a_field():
  assert 'position_scheme' in WITHOUT_NAME


def test_an_activation_that_transformers_lacks_is_refused():
  config = dataclasses.replace(CONFIG, activation='mish')
  with pytest.raises(UserError, match="activation 'mish' .only .*gelu"):
    config_json.from_encoder(config)


def test_what_config_json_says_of_a_field_is_what_was_written():
  """Also of fields that change the computation."""
  config = dataclasses.replace(
    CONFIG, norm_epsilon=1e-5, activation='relu', initializer_stddev=0.5
  )
  attributes = config_json.from_encoder(config)
  assert attributes['layer_norm_eps'] == 1e-5
  assert attributes['hidden_act'] == 'relu'
  assert config_json.to_encoder(attributes, 'config.json') == config


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
