"""The activation against the normal distribution function of the library."""

import math

import numpy as np

from bertjax.models.feed_forward import ACTIVATIONS


def test_gelu_is_x_times_the_normal_distribution_function():
  inputs = np.linspace(-6, 6, 241, dtype=np.float32)
  expected = [x * 0.5 * math.erfc(-x / math.sqrt(2)) for x in inputs.tolist()]
  np.testing.assert_allclose(ACTIVATIONS['gelu'](inputs), expected, atol=1e-6)
