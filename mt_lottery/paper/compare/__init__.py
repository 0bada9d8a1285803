"""``mt-ticket compare``: tickets of several runs (Tables 6 and 8) and the measured null."""
