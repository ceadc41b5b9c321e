"""Looks inside a trained model; no TensorFlow."""
