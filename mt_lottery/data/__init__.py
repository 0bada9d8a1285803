"""Corpora, prompt templates and batches."""
