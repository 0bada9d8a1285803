"""``mt-ticket find`` and ``transfer``: the ticket of two models or of a run."""
