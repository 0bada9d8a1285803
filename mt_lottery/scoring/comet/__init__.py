"""COMET: a metric computed by a program in a separate environment."""
