"""The random generators of a process, which belong to whoever called."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def generators_kept() -> Iterator[range]:
    """Put back what Python's, NumPy's and PyTorch's generators were, however the block ends.

    Yields:
        the GPUs whose generators are put back too: none where CUDA has not been started.
    """
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    # a model on a GPU has been put there: without one, CUDA is not to be started for this
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus = range(torch.cuda.device_count() if started else 0)
    with torch.random.fork_rng(devices=gpus):
        try:
            yield gpus
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
