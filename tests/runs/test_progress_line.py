"""What a wait says while it lasts."""

import re

import pytest

from bertjax.runs.progress_line import wait


def test_a_wait_is_named_before_it_begins_and_timed_at_its_end(capsys):
  with wait('compiling'):
    assert capsys.readouterr() == ('', 'compiling ... ')
  assert re.fullmatch(r'\d+\.\d s\n', capsys.readouterr().err)


def test_an_error_ends_the_line_of_a_wait_first(capsys):
  with pytest.raises(ValueError, match='lost'), wait('reading'):
    raise ValueError('lost')
  assert re.fullmatch(r'reading \.\.\. \d+\.\d s\n', capsys.readouterr().err)
