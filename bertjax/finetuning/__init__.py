"""Fine-tuning and evaluation: tasks, their files and metrics; no TensorFlow."""
