"""What takes these tests most of their time is compiling."""

import jax
import pytest


@pytest.fixture(scope='module')
def compiled_quickly():
  """Programs that run once are not worth XLA's most expensive passes."""
  before = jax.config.values['jax_disable_most_optimizations']
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)
