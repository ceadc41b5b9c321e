"""What notebooks need of their machine: commands, storage, packages."""

import subprocess
import sys
import types

import pytest

from bertjax.errors import UserError
from experiments.notebooks import runtime


def test_a_command_that_fails_gives_its_own_line(capfd):
  with pytest.raises(UserError, match='did you mean .*quickstart.gin') as error:
    runtime.run('recipes/quikstart.gin', TRAIN_STEPS=3, RUN_DIR='runs/a b')
  assert '\n' not in str(error.value)
  assert error.value._render_traceback_() == [f'bertjax: {error.value}']
  first = capfd.readouterr().out.splitlines()[0]
  assert first == (
    '$ python -m bertjax.main --gin_file=recipes/quikstart.gin '
    '--gin.TRAIN_STEPS=3 \'--gin.RUN_DIR="runs/a b"\''
  )


def test_values_are_written_as_gin_reads_them():
  for value in ('it\'s "é"', 0.5, 1e-4, None, True, ['a', None, ['b']]):
    assert eval(runtime._literal(value)) == value
  assert runtime._literal((0, 1)) == '[0, 1]'  # which gin takes as well


def test_interrupted_a_command_may_save_first():
  command = """if True:
    import os, signal, sys, time
    def save(*_):
      os.write(1, b'saved\\n')  # the print of 'ready' may not be over
      sys.exit(143)
    signal.signal(signal.SIGTERM, save)
    signal.signal(signal.SIGINT, lambda *_: None)  # of a whole process group
    print('ready', flush=True)
    time.sleep(60)"""
  notebook = f"""if True:
    import os, signal, sys
    from experiments.notebooks import runtime
    # Which a shell sets to be ignored by what it starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    write = sys.stdout.write
    def look(text):
      write(text)
      if text.startswith('ready'):
        os.kill(os.getpid(), signal.SIGINT)
    sys.stdout.write = look
    try:
      runtime._show([sys.executable, '-c', {command!r}])
    except KeyboardInterrupt:
      print('interrupted')"""
  done = subprocess.run(
    [sys.executable, '-c', notebook],
    cwd=runtime.ROOT,
    capture_output=True,
    text=True,
    timeout=50,
  )
  assert done.stdout.split() == ['ready', 'saved', 'interrupted'], done.stderr


def test_storage_outlives_the_machine(tmp_path, monkeypatch):
  assert runtime.storage('mine') == 'mine'
  monkeypatch.setitem(sys.modules, 'google.colab', None)
  assert runtime.storage() == str(runtime.ROOT / 'runs')
  mounted = []
  monkeypatch.setitem(sys.modules, 'google', types.ModuleType('google'))
  colab = types.ModuleType('google.colab')
  colab.drive = types.SimpleNamespace(mount=mounted.append)
  monkeypatch.setitem(sys.modules, 'google.colab', colab)
  assert runtime.storage() == '/content/drive/MyDrive/bertjax'
  assert mounted == ['/content/drive']
  monkeypatch.setattr(runtime, 'KAGGLE', str(tmp_path))
  assert runtime.storage() == str(tmp_path / 'runs')
  assert len(mounted) == 1


def test_the_jax_that_is_there_is_asked_for(monkeypatch):
  commands = []
  monkeypatch.setattr(
    runtime, '_show', lambda command: commands.append(command) or 1
  )
  versions = {'jax': '0.4.1', 'jaxlib': '0.4.0'}
  monkeypatch.setattr(runtime, 'version_of', versions.get)
  with pytest.raises(
    UserError,
    match=r'beside jax==0.4.1 jaxlib==0.4.0 .*'
    r'its jax is >=0\.\d+,<0\.\d+',
  ):
    runtime.install()
  ((*_, file, jax, jaxlib),) = commands
  assert (jax, jaxlib) == ('jax==0.4.1', 'jaxlib==0.4.0')
  assert file == runtime.ROOT / 'requirements.txt'
