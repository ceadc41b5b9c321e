"""A configuration that no encoder can have is refused with its fix."""

import dataclasses

import pytest

from bertjax.errors import UserError
from bertjax.models import positions
from bertjax.models.config import AFFECTED, EncoderConfig, fields_affecting
from bertjax.parallel import rules

SIZES = dict(vocabulary_size=60, width=32, layers=2, heads=4, feed_forward=64)


@pytest.mark.parametrize(
  'field, value, message',
  [
    (
      'heads',
      5,
      'width 32 is not a multiple of heads 5; set EncoderConfig.heads',
    ),
    (
      'layers',
      0,
      'expected a whole number from 1 to 1,000, got 0; '
      'set EncoderConfig.layers',
    ),
    (
      'width',
      32.0,
      'expected a whole number from 1 to 1,000,000,000, got 32.0; '
      'set EncoderConfig.width',
    ),
    (
      'vocabulary_size',
      None,
      'expected a whole number from 1 to 1,000,000,000, got None; '
      'set EncoderConfig.vocabulary_size',
    ),
    (
      'dropout',
      1.0,
      'expected a number from 0 to below 1, got 1.0; set EncoderConfig.dropout',
    ),
    (
      'dropout',
      None,
      'expected a number from 0 to below 1, got None; '
      'set EncoderConfig.dropout',
    ),
    (
      'attention_dropout',
      2,
      'expected a number from 0 to below 1 or None, got 2; '
      'set EncoderConfig.attention_dropout',
    ),
    (
      'norm_epsilon',
      0.0,
      'expected a number above 0 and below inf, got 0.0; '
      'set EncoderConfig.norm_epsilon',
    ),
    (
      'scan_layers',
      'yes',
      "expected True or False, got 'yes'; set EncoderConfig.scan_layers",
    ),
    (
      'norm',
      ['x'],
      "expected a text, got ['x']; set EncoderConfig.norm",
    ),
    (
      'layers',
      True,
      'expected a whole number from 1 to 1,000, got True; '
      'set EncoderConfig.layers',
    ),
    (
      'dtype',
      'bf16',
      "expected 'float32', 'bfloat16', 'float16', or None, got 'bf16'; "
      'set EncoderConfig.dtype',
    ),
    (
      'local_window',
      7,
      'expected an even window within the 512 positions of the model, got 7; '
      'set EncoderConfig.local_window',
    ),
    (
      'local_window',
      514,
      'expected an even window within the 512 positions of the model, got 514; '
      'set EncoderConfig.local_window',
    ),
    (
      'layer_pattern',
      'local_global',
      "expected a window for layer_pattern 'local_global', got None; set "
      'EncoderConfig.local_window',
    ),
    (
      'rotary_base',
      500.0,
      "rotary_base 500.0 has no effect with position_scheme 'learned'; set "
      'EncoderConfig.position_scheme, or leave it out',
    ),
    (
      'first_norm',
      False,
      "first_norm False has no effect with block_order 'post'; set "
      'EncoderConfig.block_order, or leave it out',
    ),
    (
      'position_scheme',
      ['alibi', 'learned'],
      "expected a text, got ['alibi', 'learned']; set "
      'EncoderConfig.position_scheme',
    ),
  ],
)
def test_a_wrong_value_is_refused_in_one_line(field, value, message):
  with pytest.raises(UserError) as error:
    EncoderConfig(**SIZES | {field: value})
  assert str(error.value) == message


@pytest.mark.parametrize(
  'field', dataclasses.fields(EncoderConfig), ids=lambda field: field.name
)
def test_every_field_says_what_it_changes(field):
  assert set(field.metadata) == {'affects'}
  assert field.metadata['affects'] in AFFECTED


@pytest.mark.parametrize(
  'scheme', sorted(positions.SCHEMES.keys() - {'rotary'})
)
def test_a_base_without_rotary_positions_is_refused(scheme):
  told = f"no effect with position_scheme '{scheme}'"
  with pytest.raises(UserError, match=told):
    EncoderConfig(**SIZES, position_scheme=scheme, rotary_base=5.0)
  EncoderConfig(**SIZES, position_scheme='of_my_own', rotary_base=5.0)


def test_fields_are_found_by_what_they_change():
  assert fields_affecting('shapes', 'training')[:2] == (
    'vocabulary_size',
    'width',
  )
  everything = [field.name for field in dataclasses.fields(EncoderConfig)]
  assert list(fields_affecting(*AFFECTED)) == everything
  assert {'activation', 'norm_epsilon'} <= set(fields_affecting('computation'))


def test_attention_dropout_follows_dropout_unless_it_is_set():
  assert EncoderConfig(**SIZES, dropout=0.3).attention_dropout_rate == 0.3
  assert (
    EncoderConfig(**SIZES, attention_dropout=0.0).attention_dropout_rate == 0.0
  )


@pytest.mark.parametrize(
  'platform, dtype',
  [('cpu', 'float32'), ('gpu', 'bfloat16'), ('tpu', 'bfloat16')],
)
def test_products_are_bfloat16_where_that_is_fast(monkeypatch, platform, dtype):
  monkeypatch.setattr(rules, 'platform', lambda: platform)
  assert EncoderConfig(**SIZES).compute_dtype == dtype
  assert EncoderConfig(**SIZES, dtype='float32').compute_dtype == 'float32'
