import jax.numpy as jnp
import pytest

from bertjax.errors import UserError
from bertjax.training import profiling


def test_a_profile_holds_the_steps_asked_for(tmp_path):
  profile = profiling.Profile(str(tmp_path), (2, 3), 5)
  told = []
  for step in range(1, 6):
    profile.before(step)
    told.append(profile.after(step, jnp.ones(3) + step))
    assert bool(list(tmp_path.iterdir())) == (step >= 3)
  assert [bool(line) for line in told] == [False, False, True, False, False]
  assert 'steps 2 to 3' in told[2]
  assert list(tmp_path.glob('plugins/profile/*/*.xplane.pb'))


def test_a_run_that_ends_meanwhile_leaves_its_profile(tmp_path):
  profile = profiling.Profile(str(tmp_path), (1, 9), 5)
  profile.before(1)
  profile.close()
  profile.close()
  assert list(tmp_path.glob('plugins/profile/*/*.xplane.pb'))


def test_without_steps_nothing_is_recorded(tmp_path):
  profile = profiling.Profile(str(tmp_path), None, 5)
  profile.before(1)
  assert profile.after(1, None) is None
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'steps', [5, (3, 2), (0, 2), (1,), (1, 2.5), '12', (6, 7)]
)
def test_what_are_not_two_steps_is_refused(steps):
  with pytest.raises(UserError, match='PROFILE_STEPS'):
    profiling.Profile('nowhere', steps, 5)
