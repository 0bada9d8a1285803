"""KS distances in PyTorch alone: for tables on the GPU, and for tables too small for numba."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Bytes per value while a chunk is sorted: both rows together, sorted values, int64 order,
# workspace of the sort, steps, running counts and masks.
_BYTES_PER_VALUE = 64


def distances_torch(
    before: Tensor,
    after: Tensor,
    *,
    memory: int = 192 << 20,
    advance: Callable[[int], object] | None = None,
) -> Tensor:
    """KS distance of every row in units of 1/d, on whatever device the tables are.

    Args:
        before: [V, d] floating.
        after: [V, d], same device; dtypes may differ (the wider one counts).
        memory: bytes that may be used beside the tables.
        advance: called with the number of rows done since the last call.

    Returns:
        [V] int64 on the CPU: counts in 0..d, or -1 where a row holds a NaN.
    """
    rows, d = before.shape
    dtype = torch.promote_types(before.dtype, after.dtype)
    if dtype.itemsize < 4:
        dtype = torch.float32
    count = torch.zeros(rows, dtype=torch.int64, device=before.device)
    size = max(1, memory * 4 // (dtype.itemsize * 2 * d * _BYTES_PER_VALUE))
    for start in range(0, rows, size):
        x = before[start : start + size].to(dtype)
        y = after[start : start + size].to(dtype)
        part = count[start : start + size]
        # Equal values that are not bit-identical are 0.0 and -0.0: D = 0 either way.
        todo = (x != y).any(dim=1).nonzero().squeeze(1)
        if todo.numel():
            part[todo] = _sorted_distances(x[todo], y[todo])
        part[(x.isnan() | y.isnan()).any(dim=1)] = -1
        if advance is not None:
            advance(x.shape[0])
    return count.cpu()


def _sorted_distances(x: Tensor, y: Tensor) -> Tensor:
    """[R, d] and [R, d] of one dtype → [R] int64."""
    d = x.shape[1]
    values, order = torch.cat((x, y), dim=1).sort(dim=1)
    step = torch.where(order < d, 1, -1).to(torch.int32)
    difference = step.cumsum(dim=1, dtype=torch.int32).abs_()
    # Only behind the last of equal values have both counts taken in the whole run.
    difference[:, :-1].masked_fill_(values[:, 1:] == values[:, :-1], 0)
    return difference.amax(dim=1).long()
