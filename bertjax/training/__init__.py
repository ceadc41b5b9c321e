"""State, objectives, step, loop and evaluation, without TensorFlow."""
