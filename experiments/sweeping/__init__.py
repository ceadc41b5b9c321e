"""The parts of a sweep: see `experiments.sweep`."""
