"""Completion in bash, zsh and fish: what may come next, without importing PyTorch or a plugin."""
