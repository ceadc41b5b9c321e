"""Whether a run is healthy: its curves beside those of runs that were."""
