"""The segment mask and the reference kernel, against loops in numpy."""

import numpy as np
import pytest

from bertjax.models.attention import segment_mask
from bertjax.models.kernels import KERNELS


def test_segment_mask_joins_equal_segments_and_leaves_padding_out():
  mask = segment_mask(np.array([[1, 1, 2, 0]]))
  np.testing.assert_array_equal(mask[0, 0], [
      [1, 1, 0, 0],
      [1, 1, 0, 0],
      [0, 0, 1, 0],
      [0, 0, 0, 0],
  ])


@pytest.mark.parametrize('name', KERNELS)
def test_kernel_equals_attention_written_as_loops(name):
  random = np.random.RandomState(0)
  query, key, value = random.randn(3, 2, 5, 3, 4).astype(np.float32)
  mask = random.rand(2, 1, 5, 5) < 0.6
  mask |= np.eye(5, dtype=bool)
  expected = np.zeros_like(query)
  for row, position, head in np.ndindex(2, 5, 3):
    attended = np.flatnonzero(mask[row, 0, position])
    scores = key[row, attended, head] @ query[row, position, head] / 4 ** 0.5
    weights = np.exp(scores - scores.max())
    expected[row, position, head] = (
        weights / weights.sum() @ value[row, attended, head])
  got = KERNELS[name](query, key, value, mask, lambda weights: weights)
  np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize('name', KERNELS)
def test_kernel_drops_weights_out_after_the_softmax(name):
  query, key = np.zeros((2, 1, 4, 1, 2), np.float32)
  value = np.ones((1, 4, 1, 2), np.float32)
  mask = np.ones((1, 1, 4, 4), bool)
  got = KERNELS[name](query, key, value, mask,
                      lambda weights: weights.at[..., 0].set(0))
  np.testing.assert_allclose(got, 0.75, atol=1e-6)
