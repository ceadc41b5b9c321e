"""The live line of a run, on a terminal and elsewhere."""

import io

from bertjax.training.progress import TrainingProgress


class Terminal(io.StringIO):
  def isatty(self):
    return True


VALUES = {
  'train/loss': 5.12345,
  'speed/step_seconds': 0.08,
  'speed/tokens_per_second': 50381.4,
}


def test_without_a_terminal_each_update_is_a_plain_line():
  stream = io.StringIO()
  with TrainingProgress(1500, stream=stream) as progress:
    progress.update(500, VALUES)
    progress.note('saved')
    progress.update(1500, VALUES)
  middle = '   loss 5.1235   12.5 steps/s   50,381 tokens/s   '
  assert stream.getvalue().splitlines() == [
    f'step 500/1500{middle}0:01:20 left',
    'saved',
    f'step 1500/1500{middle}0:00:00 left',
  ]


def test_on_a_terminal_one_line_is_rewritten_and_notes_stay_above():
  stream = Terminal()
  with TrainingProgress(1500, stream=stream) as progress:
    progress.note('begins')
    progress.update(500, VALUES)
    progress.update(600, VALUES)
    progress.note('saved')
  # What stays on the screen of each line: all after the last erasure.
  screen = [
    line.split('\r\x1b[K')[-1] for line in stream.getvalue().split('\n')
  ]
  assert screen[:2] == ['begins', 'saved']
  assert screen[2].startswith('step 600/1500')
  assert screen[3] == ''


def test_a_terminal_line_never_wraps(monkeypatch):
  monkeypatch.setenv('COLUMNS', '20')
  stream = Terminal()
  with TrainingProgress(1500, stream=stream) as progress:
    progress.update(500, VALUES)
  assert len(stream.getvalue().strip().split('\x1b[K')[-1]) < 20


def test_the_rate_is_timed_where_it_is_not_given():
  stream = io.StringIO()
  progress = TrainingProgress(100, step=50, stream=stream)
  progress.update(60, {})
  assert 'steps/s' in stream.getvalue() and 'left' in stream.getvalue()
