"""The commands: ``mt-train``, ``mt-bench``, ``mt-ticket`` and ``mt-translate``."""

import os

# PyTorch's threads spin while they wait for one another, and where other programs want the same
# cores they take turns with a spinning thread: with three of those on two cores, a training step
# took 22 to 45 seconds, and 5 to 9 with threads that sleep.  OpenMP reads this when PyTorch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
