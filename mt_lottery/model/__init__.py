"""Models: loading, the default model, embedding tables."""
