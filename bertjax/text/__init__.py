"""Text as ids and rows of ids, with numpy; no TensorFlow."""
