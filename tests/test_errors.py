"""What is chosen by name, and what is said of a wrong one."""

import pytest

from bertjax.errors import UserError, choose


def test_a_misspelt_choice_is_answered_with_the_nearest():
  assert choose({'learned': 1}, 'learned', 'EncoderConfig.x') == 1
  with pytest.raises(UserError, match="got 'lerned'.*did you mean 'learned'"):
    choose({'learned': 1, 'rotary': 2}, 'lerned', 'EncoderConfig.x')
