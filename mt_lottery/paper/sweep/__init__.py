"""``mt-ticket sweep``: score against the number of rows."""
