import numpy as np

from bertjax.inspection import maps


def test_entropy_is_nothing_for_one_token_and_most_if_all_are_alike():
  weights = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4], np.float32)
  np.testing.assert_allclose(
    maps.entropies(weights), np.log([1, 2, 4]), atol=1e-6
  )
