"""Token ids as text: for files, for people, and the special ones."""
