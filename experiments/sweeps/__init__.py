"""Questions, one a file, for `python -m experiments.sweep`."""
