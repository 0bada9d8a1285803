"""Vocabulary rows: the module that holds them, their file, and every method that tunes them."""
