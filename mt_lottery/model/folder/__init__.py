"""Model folders and hub models: looked at, checked and written."""
