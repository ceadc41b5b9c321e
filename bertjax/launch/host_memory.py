"""Makes malloc keep the memory that a step frees, on hosts with CPUs only.

    host_memory.keep_freed()   # before jax or TensorFlow is imported

XLA's CPU backend allocates the temporaries of a step when it starts and frees
them when it ends: 2.6 GB for BERT base at 16 x 128. glibc returns blocks of
that size to the kernel, which clears every page again at the next step. That
takes 14 to 25% of the step time (experiments/LOG.md). Nothing changes on the
host of an accelerator, which has memory of its own: its many cores need
malloc's arenas. Source: glibc manual, "Malloc Tunable Parameters".
"""

import ctypes
import importlib.util

from bertjax.parallel import devices

# Numbers of glibc's <malloc.h>.
_OPTIONS = {
  -4: 0,  # M_MMAP_MAX
  -1: -1,  # M_TRIM_THRESHOLD
  -8: 1,  # M_ARENA_MAX: the heaps of other arenas are too small for such blocks
}


def has_accelerator() -> bool:
  """Whether there is a TPU, or jax has a plugin for a GPU."""
  return devices.tpu_is_there() or bool(importlib.util.find_spec('jax_plugins'))


def keep_freed() -> bool:
  """Returns whether freed memory is kept from now on.

  It is not kept if there is an accelerator, or if the C library is not glibc.
  The peak memory of a process stays the same.
  """
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
  if mallopt is None or has_accelerator():
    return False
  return all([mallopt(*option) for option in _OPTIONS.items()])
