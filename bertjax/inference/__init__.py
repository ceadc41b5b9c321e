"""Prediction: tokenizer, predictor, export; no TensorFlow."""
