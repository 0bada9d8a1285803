"""``mt-ticket show``: the tokens of a ticket (Table 3)."""
