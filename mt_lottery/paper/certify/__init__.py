"""``mt-ticket certify``: the paper's certificate (Theorem 2, Algorithm 1) and its check."""
