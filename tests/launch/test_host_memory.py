import pathlib
import resource
import subprocess
import sys

import pytest

from bertjax.launch import host_memory
from bertjax.parallel import devices

# Ten times: 256 MB taken, filled and freed, by a thread. Not with numpy, which
# asks for huge pages.
_FAULTS = """
import ctypes, resource, sys, threading
from bertjax.launch import host_memory
if sys.argv[1] == 'keep': print(host_memory.keep_freed())
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
def fill():
  for _ in range(10):
    block = ctypes.c_void_p(library.malloc(ctypes.c_size_t(2**28)))
    library.memset(block, 1, ctypes.c_size_t(2**28))
    library.free(block)
thread = threading.Thread(target=fill); thread.start(); thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def _page_faults(mode: str) -> int:
  lines = subprocess.run(
    [sys.executable, '-c', _FAULTS, mode],
    check=True,
    text=True,
    stdout=subprocess.PIPE,
  ).stdout.split()
  if mode == 'keep' and lines[0] != 'True':
    pytest.skip('not glibc, or there is an accelerator')
  return int(lines[-1])


def test_freed_memory_is_used_again_without_page_faults():
  pages = 2**28 // resource.getpagesize()
  assert _page_faults('free') > 9 * pages
  assert _page_faults('keep') < 3 * pages


def test_nothing_changes_where_jax_has_a_plugin(
  tmp_path: pathlib.Path, monkeypatch
):
  (tmp_path / 'jax_plugins').mkdir()
  (tmp_path / 'jax_plugins' / '__init__.py').touch()
  monkeypatch.syspath_prepend(tmp_path)
  assert not host_memory.keep_freed()


def test_nothing_changes_where_a_tpu_is(monkeypatch):
  monkeypatch.setattr(devices.glob, 'glob', lambda pattern: [pattern])
  assert not host_memory.keep_freed()
