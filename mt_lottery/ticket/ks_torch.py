"""KS distances in PyTorch alone: for tables on the GPU, and for tables too small for numba."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Bytes per coordinate of the pair while a piece is sorted, in float32: rows, sorted values, int64
# order and workspace of the sort, ranks.
_BYTES_PER_COORDINATE = 64


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
    size = max(1, memory * 4 // (dtype.itemsize * d * _BYTES_PER_COORDINATE))
    # Equal values that are not bit-identical are 0.0 and -0.0: D = 0 either way.
    differs = [
        (x.to(dtype) != y.to(dtype)).any(dim=1)
        for x, y in zip(torch.split(before, size), torch.split(after, size), strict=True)
    ]
    # The one place where the host waits for the device: known sizes let it run ahead.
    changed = torch.cat(differs).nonzero().squeeze(1)
    if advance is not None:
        advance(rows - len(changed))
    for part in torch.split(changed, size) if len(changed) else ():
        count[part] = _sorted_distances(before[part].to(dtype), after[part].to(dtype))
        if advance is not None:
            advance(len(part))
    return count.cpu()


def _sorted_distances(x: Tensor, y: Tensor) -> Tensor:
    """[R, d] and [R, d] of one dtype → [R] int64, -1 where a row holds a NaN.

    Between two values of x its share of values is constant and y's grows: the distance is taken at
    a value of x (x's share is ahead) or just before one (y's is).  Of equal values the last has
    the whole share at them, the first that before them; the others cannot give more.
    """
    x, y = x.sort(dim=1).values, y.sort(dim=1).values
    before = torch.arange(x.shape[1], dtype=torch.int32, device=x.device)
    ahead = before + 1 - torch.searchsorted(y, x, right=True, out_int32=True)
    behind = torch.searchsorted(y, x, out_int32=True) - before
    distance = torch.maximum(ahead.amax(dim=1), behind.amax(dim=1)).long()
    return distance.masked_fill_(x[:, -1].isnan() | y[:, -1].isnan(), -1)  # sorted to the end
