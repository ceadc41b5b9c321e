import numpy as np

from bertjax.text import hashing


def test_mix_is_splitmix64():
  # First outputs of SplitMix64 seeded with 0 (Vigna's reference splitmix64.c):
  # its state is the golden gamma times the number of the draw.
  expected = np.array([0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4], np.uint64)
  gamma = np.uint64(0x9E3779B97F4A7C15)
  with np.errstate(over='ignore'):
    drawn = hashing.mix(np.arange(2, dtype=np.uint64) * gamma)
  np.testing.assert_array_equal(drawn, expected)


def test_uniform_numbers_are_uniform_and_uncorrelated():
  numbers = hashing.uniform(np.arange(1000)[:, None], 3, np.arange(100))
  counts, _ = np.histogram(numbers, 20, (0, 1))
  # Chi-square of 19 degrees of freedom: above 43.8 once in a thousand.
  assert ((counts - 5000) ** 2 / 5000).sum() < 43.8
  for shifted in (numbers[1:], numbers[:, 1:]):
    same = numbers[: shifted.shape[0], : shifted.shape[1]]
    correlation = np.corrcoef(same.ravel(), shifted.ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(same.size)


def test_integers_cover_the_range():
  drawn = hashing.integers(7, np.arange(10000))
  assert set(drawn) == set(range(7))
