"""A look inside a trained model; no TensorFlow."""
