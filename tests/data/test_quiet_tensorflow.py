"""In processes of their own, as only a first import prints."""

import os
import re
import subprocess
import sys

import pytest

STUB = 'import os\nos.write(2, b"noise of C++")\n'
CONFIG = """
class config:
  def set_visible_devices(devices, kind):
    pass
"""


def run(code, folder=None):
  """Returns status and output of Python without what tests set."""
  environment = {
    name: value
    for name, value in os.environ.items()
    if name not in ('TF_CPP_MIN_LOG_LEVEL', 'TF_ENABLE_ONEDNN_OPTS')
  }
  if folder:  # before what is installed
    environment['PYTHONPATH'] = f'{folder}{os.pathsep}{os.getcwd()}'
  done = subprocess.run(
    [sys.executable, '-c', code],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env=environment,
  )
  return done.returncode, done.stdout


def test_batches_from_python_come_without_a_line_of_tensorflow(tmp_path):
  lines = (
    f'rhyme {i} has line {j} of {i * j}.' for i in range(40) for j in 'ab'
  )
  (tmp_path / 'rhymes.txt').write_text('\n\n'.join(lines))
  code = f"""
import os
import jax  # which sets TensorFlow's log level
from bertjax.corpus import corpora
from bertjax.data import pretraining_tasks, seqio_pipeline
text, folder = {str(tmp_path / 'rhymes.txt')!r}, {str(tmp_path / 'run')!r}
corpus = corpora.from_text(text, folder, vocab_size=200)
task = pretraining_tasks.register('quiet', corpus)
next(iter(seqio_pipeline.batches(task, 4, length=16, predictions=3, seed=0)))
os._exit(0)  # see safe_iterators
"""
  status, said = run(code)
  assert status == 0, said
  assert all(
    re.match(
      '[0-9]+ documents|training|vocab|tokenizing|.* pairs|tracing|warning',
      line,
    )
    for line in said.splitlines()
  ), said


@pytest.mark.parametrize('fails', [False, True])
def test_what_an_import_prints_is_shown_only_if_it_fails(tmp_path, fails):
  for name in ('seqio', 'tensorflow_datasets', 'tensorflow_text'):
    (tmp_path / f'{name}.py').touch()
  broken = 'raise ImportError("no such symbol")\n' if fails else ''
  (tmp_path / 'tensorflow.py').write_text(STUB + broken + CONFIG)
  code = 'import bertjax.data.quiet_tensorflow; import os; os.write(2, b"end")'
  status, said = run(code, tmp_path)
  if fails:
    assert status == 1 and said.startswith('noise of C++Traceback')
    assert said.endswith('ImportError: no such symbol\n')
  else:
    assert (status, said) == (0, 'end')
