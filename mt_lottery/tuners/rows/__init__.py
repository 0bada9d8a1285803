"""Vocabulary rows: the module that holds them, their file, and every tuner that tunes them."""
