"""The user's variables that Slurm's commands read as options: which ones they get from here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

#: Filters of people's own listings (``SQUEUE_PARTITION``): a job that they hide would look ended.
_FILTERS = ("SQUEUE_", "SACCT_", "SCANCEL_")


def without_filters() -> dict[str, str]:
    """The environment for a question about our own jobs."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_FILTERS)}
