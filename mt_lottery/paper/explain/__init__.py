"""``mt-ticket explain``: what a ticket does, and where in the text."""
