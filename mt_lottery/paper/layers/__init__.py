"""``mt-ticket layers``: which parameters of a model moved (Figure 6)."""
