"""What a finished run holds and worked with, read piece by piece."""
