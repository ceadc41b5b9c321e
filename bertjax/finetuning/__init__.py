"""Fine-tuning: all tasks, all seeds, one table; no TensorFlow."""
