import errno
import os
import signal
import subprocess
import sys
import time

import pyarrow
import pytest

from bertjax.corpus import repair, workers
from bertjax.errors import RunStopped, UserError

MAKE = 'bertjax.corpus.kept_text:counter'
ARGUMENTS = {'cased': True, 'threshold': 0, 'tokenizer': 'wordpiece'}


def batches(texts):
  for text in texts:
    yield pyarrow.record_batch({'document': [1], 'text': [text]})


def counted(found):
  return [batch.to_pylist() for batch in found]


@pytest.fixture(scope='module')
def pool():
  with workers.Pool(2) as made:
    yield made


def test_results_are_those_of_one_process_in_the_order_of_the_batches(pool):
  texts = [f'word{i} ' * (1 + i % 7) for i in range(50)]
  alone = workers.Pool(1).map(MAKE, ARGUMENTS, batches(texts))
  expected = counted(alone)
  assert expected[3] == [{'word': 'word3', 'count': 4}]
  assert counted(pool.map(MAKE, ARGUMENTS, batches(texts))) == expected
  # Another one may follow, and one without batches stand between.
  assert counted(pool.map(MAKE, ARGUMENTS, batches([]))) == []
  lower = ARGUMENTS | {'cased': False}
  assert (
    counted(pool.map(MAKE, lower, batches(['A'] * 9)))
    == [[{'word': 'a', 'count': 1}]] * 9
  )


def test_both_processes_work(pool, monkeypatch):
  calls = []
  call = workers._Process.call
  monkeypatch.setattr(
    workers._Process, 'call', lambda *x: (calls.append(1), call(*x))[1]
  )
  found = pool.map(MAKE, ARGUMENTS, batches(['a b c ' * 99999] * 12))
  assert len(counted(found)) == 12
  assert 0 < len(calls) < 12


@pytest.mark.parametrize(
  'number, words',
  [(signal.SIGKILL, 'for want of memory'), (signal.SIGTERM, 'printed above')],
)
def test_a_process_that_ends_is_one_line(number, words):
  with workers.Pool(2) as pool, pytest.raises(RunStopped, match=words):
    found = pool.map(MAKE, ARGUMENTS, batches(['a'] * 99))
    next(found)
    os.kill(pool._others[0]._popen.pid, number)
    list(found)


def test_a_process_that_cannot_start_leaves_no_other(monkeypatch):
  start, started = subprocess.Popen, []

  def popen(*args, **kwargs):
    if started:
      raise OSError(errno.EAGAIN, 'Resource temporarily unavailable')
    started.append(start(*args, **kwargs))
    return started[0]

  monkeypatch.setattr(workers.subprocess, 'Popen', popen)
  with pytest.raises(RunStopped, match='temporarily unavailable; start again'):
    workers.Pool(3).__enter__()
  assert started[0].poll() is not None


def test_wrong_arguments_are_told_here(tmp_path):
  settings = {'blocked_words': str(tmp_path / 'none.txt')}
  with workers.Pool(2) as pool, pytest.raises(UserError, match='none.txt'):
    list(pool.map('bertjax.corpus.steps:cleaner', {'settings': settings}, []))


@pytest.mark.parametrize('library', ['rensa', 'ftfy'])
def test_a_missing_library_is_told_here(monkeypatch, library):
  monkeypatch.setitem(sys.modules, library, None)
  repair._ftfy.cache_clear()
  with workers.Pool(2) as pool, pytest.raises(UserError, match=library):
    list(pool.map('bertjax.corpus.steps:cleaner', {'settings': {}}, []))


def test_after_a_map_that_was_left_there_is_no_other():
  with workers.Pool(2) as pool:
    next(pool.map(MAKE, ARGUMENTS, batches(['a'] * 9)))
    with pytest.raises(AssertionError):
      next(pool.map(MAKE, ARGUMENTS, batches(['a'])))


def test_ctrl_c_prints_nothing_of_the_others():
  code = (
    'import signal, time\n'
    # Which a shell sets to be ignored by what it starts in the background.
    'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
    'from bertjax.corpus import workers\n'
    'with workers.Pool(2):\n'
    '  print("started", flush=True)\n'
    '  try:\n'
    '    time.sleep(60)\n'
    '  except KeyboardInterrupt:\n'
    '    time.sleep(2)\n'  # in which the other could print
    '    print("interrupted")\n'
  )
  with subprocess.Popen(
    [sys.executable, '-c', code],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,
  ) as process:
    assert process.stdout.readline() == 'started\n'
    time.sleep(0.2)  # during the imports of the other
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[0] == 'interrupted\n'
