"""State, objectives, step, loop, evaluation; no TensorFlow."""
