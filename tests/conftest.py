"""Eight simulated CPU devices, so that every test can build any mesh.

Compiled in a hurry: most of the suite's time was LLVM's, and what these tests
compute is compared, not timed. The recipes that CI runs are compiled in full.
"""

import os
import sys

import pytest

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '')
  + ' --xla_force_host_platform_device_count=8'
  + ' --xla_backend_optimization_level=0'
  + ' --xla_llvm_disable_expensive_passes=true'
)


def pytest_sessionfinish(session, exitstatus):
  session.config.final_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
  """Ends the process as `bertjax.main` does, see the reason there."""
  status = getattr(config, 'final_status', None)
  is_worker = hasattr(config, 'workerinput')  # of xdist, which ends it itself
  if status is not None and not is_worker:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
