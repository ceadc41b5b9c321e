"""Questions for `python -m experiments.sweep`, one per file."""
