"""Small encoders, one for each row of the model's tables and some together."""

import dataclasses

import numpy as np

from bertjax.models.config import EncoderConfig

# BERT's, so a variant names what it has other than BERT.
BASE = EncoderConfig(
  vocabulary_size=60,
  width=16,
  layers=2,
  heads=2,
  feed_forward=32,
  positions=16,
  dropout=0.0,
)
LOCAL = {'layer_pattern': 'local_global', 'local_window': 4}
WITHOUT_BIASES = dict.fromkeys(
  ('norm_bias', 'attention_bias', 'feed_forward_bias', 'head_bias'), False
)
# Fields, and those that stand on both sides of the comparison with BERT.
VARIANTS: dict[str, tuple[dict, dict]] = {
  'bert': ({}, {}),
  'rms_norm': ({'norm': 'rms_norm'}, {}),
  'without_norm_bias': ({'norm_bias': False}, {}),
  'without_attention_bias': ({'attention_bias': False}, {}),
  'without_feed_forward_bias': ({'feed_forward_bias': False}, {}),
  'without_head_bias': ({'head_bias': False}, {}),
  'without_decoder_bias': ({'decoder_bias': False}, {}),
  'without_embedding_norm': ({'embedding_norm': False}, {}),
  'pre_norm': ({'block_order': 'pre'}, {}),
  'pre_norm_without_final': ({'final_norm': False}, {'block_order': 'pre'}),
  'pre_norm_without_first': ({'first_norm': False}, {'block_order': 'pre'}),
  'geglu': ({'feed_forward_block': 'gated'}, {}),
  'swiglu': ({'activation': 'silu'}, {'feed_forward_block': 'gated'}),
  'gelu_tanh': ({'activation': 'gelu_tanh'}, {}),
  'relu': ({'activation': 'relu'}, {}),
  'head_activation': ({'head_activation': 'silu'}, {}),
  'no_positions': ({'position_scheme': 'none'}, {}),
  'sinusoidal': ({'position_scheme': 'sinusoidal'}, {}),
  'scaled_sinusoidal': ({'position_scheme': 'scaled_sinusoidal'}, {}),
  'alibi': ({'position_scheme': 'alibi'}, {}),
  'rotary': ({'position_scheme': 'rotary'}, {}),
  'rotary_base': ({'rotary_base': 10.0}, {'position_scheme': 'rotary'}),
  'local_rotary_base': (
    {'local_rotary_base': 10.0},
    {'position_scheme': 'rotary', **LOCAL},
  ),
  'local_window': ({'local_window': 4}, {}),
  'local_global': (LOCAL, {}),
  'global_every': ({'global_every': 1}, LOCAL),
  'alibi_local': ({'position_scheme': 'alibi'}, {'local_window': 6}),
  'query_key_norm': ({'query_key_norm': True}, {}),
  'one_type': ({'types': 1}, {}),
  'no_types': ({'types': 0}, {}),
  'decoder_of_its_own': ({'tied_decoder': False}, {}),
  'shared_head': ({'shared_head': True}, {}),
  'roberta': ({'types': 1, 'norm_epsilon': 1e-5}, {}),
  'modernbert': (
    {
      **LOCAL,
      **WITHOUT_BIASES,
      'layers': 5,  # the first is like no other, then two turns
      'global_every': 2,
      'types': 0,
      'norm_epsilon': 1e-5,
      'position_scheme': 'rotary',
      'rotary_base': 160000.0,
      'local_rotary_base': 10000.0,
      'block_order': 'pre',
      'first_norm': False,
      'feed_forward_block': 'gated',
      'shared_head': True,
    },
    {},
  ),
  'neobert': (
    {
      **WITHOUT_BIASES,
      'types': 0,
      'norm': 'rms_norm',
      'block_order': 'pre',
      'embedding_norm': False,
      'position_scheme': 'rotary',
      'feed_forward_block': 'gated',
      'activation': 'silu',
    },
    {},
  ),
  'mosaic': ({'position_scheme': 'alibi', 'feed_forward_block': 'gated'}, {}),
  'cramming': (
    {
      **WITHOUT_BIASES,
      'block_order': 'pre',
      'position_scheme': 'scaled_sinusoidal',
      'feed_forward_block': 'gated',
    },
    {},
  ),
}


def configuration(name: str) -> EncoderConfig:
  """Returns the EncoderConfig of a variant."""
  own, both = VARIANTS[name]
  return dataclasses.replace(BASE, **both, **own)


def plain(name: str) -> EncoderConfig:
  """Returns that of the BERT beside it, with as many layers."""
  own, both = VARIANTS[name]
  layers = {k: x for k, x in own.items() if k == 'layers'}
  return dataclasses.replace(BASE, **(both | layers))


def make_batch() -> dict[str, np.ndarray]:
  """Returns two sequences of 8, packed, apart, and apart with other padding.

  The rows are: both; the first; the second; the first again, with other tokens
  in its padding.
  """
  random = np.random.RandomState(0)
  tokens = random.randint(5, 60, (2, 8))
  types = np.tile(np.arange(8) > 4, (2, 1)).astype(np.int32)
  zeros = np.zeros(8, np.int32)
  rows = {
    'tokens': [
      np.concatenate(tokens),
      *(np.concatenate([one, zeros]) for one in tokens),
      np.concatenate([tokens[0], tokens[1]]),
    ],
    'types': [types.ravel()] + [np.concatenate([x, zeros]) for x in types] * 2,
    'positions': [np.tile(np.arange(8), 2)] + [np.arange(16)] * 3,
    'segments': [np.repeat([1, 2], 8)] + [np.repeat([1, 0], 8)] * 3,
  }
  rows['types'] = rows['types'][:4]
  batch = {key: np.array(x, np.int32) for key, x in rows.items()}
  batch['target_positions'] = np.array(
    [[1, 6, 10], [1, 6, 0], [2, 0, 0], [1, 6, 0]], np.int32
  )
  batch['targets'] = np.full((4, 3), 7, np.int32)
  batch['weights'] = (batch['target_positions'] > 0).astype(np.float32)
  return batch
