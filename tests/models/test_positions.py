"""Positions against formulas that are written in another way."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.models import positions
from bertjax.models.bert import Bert
from bertjax.models.layer_patterns import LayerSpec
from bertjax.parallel import rules
from tests.models import variants

POSITIONS = np.array([[0, 1, 2, 7], [3, 0, 15, 8]])


@pytest.mark.parametrize('platform', ['cpu', 'tpu'])
def test_rotary_turns_pairs_of_features_as_complex_numbers(
  platform, monkeypatch
):
  monkeypatch.setattr(rules, 'platform', lambda: platform)
  config = dataclasses.replace(variants.BASE, position_scheme='rotary')
  inputs = np.random.RandomState(0).normal(size=(2, 4, 2, 8))
  found = positions.rotate(
    config, LayerSpec(position_base=100.0), POSITIONS, jnp.array(inputs)
  )
  pairs = inputs[..., :4] + 1j * inputs[..., 4:]
  rates = 100.0 ** -np.array([0, 2 / 8, 4 / 8, 6 / 8])
  turned = pairs * np.exp(1j * POSITIONS[:, :, None, None] * rates)
  expected = np.concatenate([turned.real, turned.imag], -1)
  np.testing.assert_allclose(found, expected, atol=2e-6)


def test_far_positions_are_told_apart_in_half_precision():
  config = dataclasses.replace(
    variants.BASE, position_scheme='rotary', positions=8192
  )
  ones = jnp.ones((1, 8192, 1, 8), jnp.bfloat16)
  where = jnp.arange(8192)[None]
  found = positions.rotate(config, LayerSpec(), where, ones)
  assert found.dtype == jnp.bfloat16
  exact = np.cos(np.arange(8192.0)) - np.sin(np.arange(8192.0))
  np.testing.assert_allclose(found[0, :, 0, 0], exact, atol=0.01)


@pytest.mark.parametrize(
  'change, message',
  [
    (
      {'heads': 16, 'position_scheme': 'rotary'},
      'expected an even width of heads for rotary positions, got 1; set '
      'EncoderConfig.heads',
    ),
    (
      {'positions': 8, 'position_scheme': 'rotary'},
      'expected a length within the 8 positions of the model, got 16; set '
      'LENGTH or EncoderConfig.positions',
    ),
    (
      {'positions': 8, 'position_scheme': 'sinusoidal'},
      'expected a length within the 8 positions of the model, got 16; set '
      'LENGTH or EncoderConfig.positions',
    ),
    (
      {'position_scheme': 'alibi_learned'},
      None,
    ),
  ],
)
def test_what_cannot_be_is_refused_before_anything_runs(change, message):
  model = Bert(dataclasses.replace(variants.BASE, **change))
  with pytest.raises(UserError) as caught:
    jax.eval_shape(
      lambda: model.init(jax.random.key(0), variants.make_batch(), train=False)
    )
  if message:
    assert str(caught.value) == message
  else:
    assert "did you mean 'learned'" in str(caught.value)


def test_waves_are_sine_and_cosine_in_turns():
  """Vaswani et al. 2017, section 3.5."""
  for width in (6, 7):
    config = dataclasses.replace(variants.BASE, width=width, heads=1)
    found = positions.sinusoidal(config, jnp.array(POSITIONS))
    for feature in range(width):
      rate = 1 / 10000 ** (feature // 2 * 2 / width)
      wave = (np.sin, np.cos)[feature % 2]
      np.testing.assert_allclose(
        found[..., feature], wave(POSITIONS * rate), atol=1e-6
      )


def test_the_learned_scale_begins_at_the_root_of_the_width_and_decays():
  config = dataclasses.replace(
    variants.BASE, position_scheme='scaled_sinusoidal'
  )
  variables = Bert(config).init(
    jax.random.key(0), variants.make_batch(), train=False
  )
  embeddings = nn.unbox(variables)['params']['embeddings']
  assert set(embeddings) == {'token', 'type', 'position_scale', 'norm'}
  np.testing.assert_allclose(embeddings['position_scale']['scale'], [0.25])


def test_slopes_are_those_of_the_paper_and_of_its_code():
  """Press et al. 2022, section 3, for 8 heads; 12 as MosaicBERT has them."""
  eight = [1 / 2**i for i in range(1, 9)]
  assert positions.slopes(8) == eight
  assert positions.slopes(16)[:3] == [2**-0.5, 2**-1, 2**-1.5]
  between = [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
  np.testing.assert_allclose(positions.slopes(12), eight + between)


def test_alibi_lowers_scores_by_the_distance_in_both_directions():
  config = dataclasses.replace(variants.BASE, position_scheme='alibi')
  found = positions.alibi(config, LayerSpec(), jnp.arange(4), jnp.arange(3))
  assert found.shape == (2, 4, 3)
  expected = -np.abs(np.arange(4)[:, None] - np.arange(3))
  np.testing.assert_allclose(found[0], expected / 16)
  np.testing.assert_allclose(found[1], expected / 256)
