"""Which of PyTorch's attention kernels run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.backends import cuda


@contextmanager
def of_any_shape() -> Iterator[None]:
    """Attention without cuDNN's kernels, which PyTorch prefers on Hopper and Blackwell.

    cuDNN builds a plan for every shape that it has not seen, in 0.1 to 1 second.  Here nearly
    every batch has its own, and in decoding every step; the other kernels take any shape.
    It counts for the whole process, and must be around forward and backward alike.
    """
    before = cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        cuda.enable_cudnn_sdp(before)
