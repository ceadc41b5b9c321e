"""Makes malloc keep the memory that a step frees, on a machine with CPUs only.

    host_memory.keep_freed()   # before jax or TensorFlow is imported

XLA's CPU backend allocates the temporaries of a step when it starts and frees
them when it ends, 2.6 GB for BERT base at 16 x 128. glibc gives blocks of that
size back to the kernel, which clears every page of them again at the next step:
14 to 25% of the step time (experiments/LOG.md). An accelerator has memory of
its own, and its hosts have cores enough to need malloc's arenas, so nothing is
changed there. Source: glibc manual, "Malloc Tunable Parameters".
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

  It is not where there is a TPU or jax has a plugin for a GPU, nor where the C
  library is not glibc. A process never holds more than it did at its peak
  either way.
  """
  if devices.tpu_is_there() or importlib.util.find_spec('jax_plugins'):
    return False
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
  # One arena, as the heaps of all others are too small for such blocks.
  return mallopt is not None and all(
    [
      mallopt(_MMAP_MAX, 0),
      mallopt(_TRIM_THRESHOLD, -1),
      mallopt(_ARENA_MAX, 1),
    ]
  )
