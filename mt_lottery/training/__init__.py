"""Training: transformers' Trainer, with a loss that is computed where there is a label."""
