"""A run directory: its files, who may write there, and whether they are whole."""
