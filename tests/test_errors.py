"""What is chosen by name, and what is said of a wrong one."""

import pytest

from bertjax.errors import UserError, choose, expect


def test_a_misspelt_choice_is_answered_with_the_nearest():
  assert choose({'learned': 1}, 'learned', 'EncoderConfig.x') == 1
  with pytest.raises(UserError, match="got 'lerned'.*did you mean 'learned'"):
    choose({'learned': 1, 'rotary': 2}, 'lerned', 'EncoderConfig.x')


def test_what_is_out_of_range_is_answered_with_the_setting():
  expect(0 < 0.5, 'a number above 0', 0.5, 'RATE')
  with pytest.raises(UserError) as caught:
    expect([], 'a number above 0', -1, 'RATE')
  assert str(caught.value) == 'expected a number above 0, got -1; set RATE'


def test_an_empty_list_is_none():
  with pytest.raises(UserError, match='expected tasks, got none; set TASKS'):
    expect([], 'tasks', [], 'TASKS')
