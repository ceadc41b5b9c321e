"""From text to batches: the only package that imports TensorFlow and seqio."""
