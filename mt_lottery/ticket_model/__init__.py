"""A ticket in somebody else's training loop: rows as a PEFT method."""
