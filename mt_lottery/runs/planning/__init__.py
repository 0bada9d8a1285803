"""What a run depends on, checked before anything is loaded."""
