"""A run for llama.cpp: the base's own GGUF with the rows in it, or an adapter beside it."""
