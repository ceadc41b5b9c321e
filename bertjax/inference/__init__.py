"""Prediction from texts and files, and export; no TensorFlow."""
