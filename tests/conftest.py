"""Eight simulated CPU devices, so that every test can build any mesh.

Compiled in a hurry: most of the suite's time was the compiler's, and what these
tests compute is compared, not timed. The recipes that CI runs are compiled in
full. What one test or process has compiled, the others of this run load.
"""

import atexit
import contextlib
import importlib.metadata
import os
import re
import resource
import shutil
import sys
import tempfile

import pytest

FAST_COMPILATION = (
  '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
)
if importlib.metadata.version('jax').startswith('0.10.'):
  # Later ones do not know it, and end the process.
  FAST_COMPILATION += ' --xla_cpu_use_fusion_emitters=false'

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '')
  + f' --xla_force_host_platform_device_count=8 {FAST_COMPILATION}'
)
# The processes of pytest-xdist, and those that tests start, inherit it.
if 'PYTEST_XDIST_WORKER' not in os.environ:
  _CACHE = tempfile.mkdtemp(prefix='bertjax_tests_')
  atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _CACHE
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'


def pytest_sessionfinish(session, exitstatus):
  session.config.final_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
  """Ends the process as `bertjax.main` does, see the reason there."""
  status = getattr(config, 'final_status', None)
  is_worker = hasattr(config, 'workerinput')  # of xdist, which ends it itself
  if status is not None and not is_worker:
    shutil.rmtree(os.environ['JAX_COMPILATION_CACHE_DIR'], ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@pytest.fixture
def errors():
  """Returns the lines of standard error that do not only name a wait."""
  waits = re.compile(
    r'(importing|preparing|tracing|reading|training the|tokenizing|looking for|'
    r'initialising|compiling|saving, and)\b.*'
  )
  return lambda error: [
    line for line in error.splitlines() if not waits.fullmatch(line)
  ]


@pytest.fixture
def full_disk(capsys):  # what is printed must not go to pytest's file
  """Within it, a file above 1000 bytes fails as on a full disk.

  What it compiles must be compiled before: jax keeps that in files as well.
  """

  @contextlib.contextmanager
  def limit():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
      yield
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)

  return limit
