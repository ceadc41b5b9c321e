import os
import subprocess
import sys

import jax
import pytest

from bertjax.launch import compilation_cache


@pytest.fixture(autouse=True)
def as_before():
  before = jax.config.jax_compilation_cache_dir
  yield
  jax.config.update('jax_compilation_cache_dir', before)


def test_programs_are_kept_in_the_cache_folder_of_the_user(monkeypatch):
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  monkeypatch.setenv('XDG_CACHE_HOME', '/somewhere')
  compilation_cache.enable()
  assert jax.config.jax_compilation_cache_dir == '/somewhere/bertjax/jax'
  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setenv('HOME', '/home/ada')
  compilation_cache.enable()
  assert jax.config.jax_compilation_cache_dir == '/home/ada/.cache/bertjax/jax'


def test_the_variable_of_jax_wins(monkeypatch):
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '/elsewhere')
  jax.config.update('jax_compilation_cache_dir', '/elsewhere')
  compilation_cache.enable()
  assert jax.config.jax_compilation_cache_dir == '/elsewhere'


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
  code = (
    'import jax\n'
    'from bertjax.launch import compilation_cache\n'
    'compilation_cache.enable()\n'
    'jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)\n'
    'found = []\n'
    'jax.monitoring.register_event_listener(lambda e, **_: found.append(e))\n'
    'jax.jit(lambda x: x * 2 + 1)(3.0)\n'
    'print("/jax/compilation_cache/cache_hits" in found)\n'
  )
  environment = {
    k: v for k, v in os.environ.items() if k != 'JAX_COMPILATION_CACHE_DIR'
  } | {'XDG_CACHE_HOME': str(tmp_path)}
  said = [
    subprocess.run(
      [sys.executable, '-c', code],
      env=environment,
      check=True,
      capture_output=True,
      text=True,
    ).stdout.strip()
    for _ in range(2)
  ]
  assert said == ['False', 'True']
