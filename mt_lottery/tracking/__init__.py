"""Experiment trackers: where a run's numbers go besides its own files."""
