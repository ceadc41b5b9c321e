"""TensorFlow and what is built on it, imported without what they print.

    from bertjax.data.quiet_tensorflow import seqio, tf

TensorFlow's C++ prints while it is imported, before its log level can be set,
and while it looks for GPUs. All of that is shown after all if an import fails.
"""

import os
import sys
import tempfile

# TensorFlow computes nothing that oneDNN speeds up, and would print about it.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
# jax, if imported first, has set 1; then every data set would print warnings.
if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1') == '1':
  os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'

sys.stderr.flush()
with tempfile.TemporaryFile() as _file, os.fdopen(os.dup(2), 'wb') as _screen:
  os.dup2(_file.fileno(), 2)
  try:
    import seqio
    import tensorflow as tf
    import tensorflow_datasets as tfds

    # TensorFlow reads data; the accelerator, about which it prints, is jax's.
    for _kind in ('GPU', 'TPU'):
      tf.config.set_visible_devices([], _kind)
  except BaseException:
    _file.seek(0)
    _screen.write(_file.read())
    raise
  finally:
    sys.stderr.flush()
    os.dup2(_screen.fileno(), 2)

__all__ = ['seqio', 'tf', 'tfds']
