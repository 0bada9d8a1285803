"""The commands: ``mt-train`` and ``mt-translate``."""
