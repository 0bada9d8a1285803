"""The commands: ``mt-train``, ``mt-bench``, ``mt-ticket`` and ``mt-translate``."""

import os

# PyTorch's threads spin while they wait for one another, and where other programs want the same
# cores they take turns with a spinning thread, which slows every training step
# (benchmarks/time_to_ticket.py measures it).  OpenMP reads this when PyTorch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
