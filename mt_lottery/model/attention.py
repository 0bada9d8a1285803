"""Which of PyTorch's kernels run: attention of any shape, and passes that repeat to the bit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
import torch.utils.deterministic
from torch.backends import cuda

from mt_lottery.errors import TrainingError, assigned
from mt_lottery.system.overlapping import Overlapping

#: cuBLAS's workspace; PyTorch looks whether it is set at a process's first product on a GPU.
WORKSPACE, SAME_EACH_TIME = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


def _without_cudnn(before: ExitStack) -> None:
    before.callback(cuda.enable_cudnn_sdp, cuda.cudnn_sdp_enabled())  # type: ignore[no-untyped-call]
    cuda.enable_cudnn_sdp(False)


_any_shape = Overlapping(_without_cudnn)


def of_any_shape() -> AbstractContextManager[None]:
    """Attention without cuDNN's kernels, which PyTorch prefers on Hopper and Blackwell.

    cuDNN builds a plan for every shape that it has not seen, in 0.1 to 1 second.  Here nearly
    every batch has its own, and in decoding every step; the other kernels take any shape.
    It counts for the whole process, and must be around forward and backward alike.
    """
    return _any_shape()


def allow_repeating() -> None:
    """Prepare a process for :func:`repeatable`, before its first product on a GPU."""
    os.environ.setdefault(WORKSPACE, SAME_EACH_TIME)


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """Forward and backward that give the same bits each time on one machine.

    On a GPU, attention's gradients of the queries may otherwise be summed in the order in which the
    blocks of keys happen to end.  The CPU's kernels repeat anyway.

    Args:
        wanted: False changes nothing.

    Raises:
        TrainingError: an operation has no kernel that repeats, or cuBLAS cannot.
    """
    if not wanted:
        yield
        return
    allow_repeating()
    fills: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        fills.fill_uninitialized_memory,
    )
    torch.use_deterministic_algorithms(True)
    fills.fill_uninitialized_memory = False  # nothing here reads memory that it did not write
    try:
        yield
    except RuntimeError as error:
        if "determin" not in str(error):
            raise
        if WORKSPACE in str(error):
            why = f"{WORKSPACE} must be {SAME_EACH_TIME} or :16:8 before a process uses the GPU"
        else:
            why = str(error).split(", but you set")[0]
        raise TrainingError(
            f"`deterministic` is true, and this training cannot repeat to the bit: {why}. "
            f"{assigned({'deterministic': False})} trains it."
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        fills.fill_uninitialized_memory = before[2]
