"""Keeps compiled programs on disk for the next start.

    compilation_cache.enable()

Source: jax's persistent compilation cache.
"""

import os

import jax


def enable() -> None:
  """Keeps programs that take a second or more to compile in the user's cache.

  JAX_COMPILATION_CACHE_DIR names another folder; if it is empty, nothing is
  kept. jax reuses an entry only for the same program, versions and device kind.
  """
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:  # which jax reads
    caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    jax.config.update('jax_compilation_cache_dir', f'{caches}/bertjax/jax')
