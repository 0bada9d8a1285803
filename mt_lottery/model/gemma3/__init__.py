"""The default model: Gemma 3 270M from a PyPI package."""
