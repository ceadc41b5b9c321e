"""Corpora: cleaned, without duplicates, as shards; no TensorFlow."""
