"""From a sentence pair to token ids: templates, special tokens, batches."""
