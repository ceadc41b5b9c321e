"""What a wait says."""

import pytest

from bertjax.runs import progress_line
from bertjax.runs.progress_line import wait


def test_a_wait_is_named_before_it_begins(capsys):
  with wait('compiling'):
    assert capsys.readouterr() == ('', 'compiling\n')
  assert capsys.readouterr() == ('', '')


def test_a_long_wait_is_timed_at_its_end(capsys, monkeypatch):
  times = iter([10.0, 17.25])
  monkeypatch.setattr(progress_line.time, 'monotonic', lambda: next(times))
  with wait('compiling'):
    pass
  assert capsys.readouterr().err == 'compiling\ncompiling: 7.2 s\n'


def test_a_wait_that_fails_leaves_the_last_line_to_the_error(capsys):
  with pytest.raises(ValueError, match='lost'), wait('reading'):
    raise ValueError('lost')
  assert capsys.readouterr().err == 'reading\n'
