"""The user's variables that Slurm's commands read as options: which ones they get from here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

#: Filters of people's own listings (``SQUEUE_PARTITION``): a job that they hide would look ended.
_FILTERS = ("SQUEUE_", "SACCT_", "SCANCEL_")

#: What every submission decides itself, by the names of sbatch's variables without ``SBATCH_``.
#: WAIT would keep sbatch, and with it Ctrl-C, until the jobs have ended.
_OURS = ("ARRAY_INX", "ERROR", "OPEN_MODE", "OUTPUT", "NO_REQUEUE", "REQUEUE", "SIGNAL", "WAIT")
_CPUS = ("CPUS_PER_TASK", "CPUS_PER_GPU", "TRES_PER_TASK")
_GPUS = ("GPUS", "GPUS_PER_NODE", "GPUS_PER_SOCKET", "GPUS_PER_TASK", "TRES_PER_TASK")
_MEMORY = ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU")
#: Variables of a parameter that are not called like it, or that exclude it.
_ALSO = {
    "cpus_per_gpu": _CPUS,
    "cpus_per_task": _CPUS,
    "gpus_per_node": _GPUS,
    "mem": _MEMORY,
    "mem_per_cpu": _MEMORY,
    "mem_per_gpu": _MEMORY,
    "time": ("TIMELIMIT",),
}


def without_filters() -> dict[str, str]:
    """The environment for a question about our own jobs."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_FILTERS)}


@contextlib.contextmanager
def without_overrides(parameters: Iterable[str]) -> Iterator[None]:
    """Take the ``SBATCH_*`` that would beat these parameters out of the environment, for a while.

    submitit writes parameters as ``#SBATCH`` lines, and sbatch lets the environment override
    those.  Variables of other options, such as the ``SBATCH_ACCOUNT`` of a site, stay.

    Args:
        parameters: names, as submitit calls them.
    """
    names = {*_OURS}
    for key in parameters:
        names |= {key.upper(), *_ALSO.get(key, ())}
    taken = {
        variable: os.environ.pop(variable)
        for variable in (f"SBATCH_{name}" for name in names)
        if variable in os.environ
    }
    try:
        yield
    finally:
        os.environ.update(taken)
