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

# glibc's <malloc.h>.
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_ARENA_MAX = -8


def keep_freed() -> bool:
  """Returns whether freed memory is kept from now on.

  It is not kept if there is a TPU, if jax has a plugin for a GPU, or if the C
  library is not glibc. The peak memory of a process stays the same.
  """
  if devices.tpu_is_there() or importlib.util.find_spec('jax_plugins'):
    return False
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
  # One arena: the heaps of all others are too small for such blocks.
  return mallopt is not None and all(
    [
      mallopt(_MMAP_MAX, 0),
      mallopt(_TRIM_THRESHOLD, -1),
      mallopt(_ARENA_MAX, 1),
    ]
  )
