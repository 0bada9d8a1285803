"""The machine under a run: files, processes, signals, secrets."""
