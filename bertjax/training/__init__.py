"""State, objectives, step, loop, evaluation, checkpoints; no TensorFlow."""
