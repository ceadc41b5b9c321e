"""What stands in a run's folder: files, checkpoints, curves, models."""
