"""Compiled loops of the KS test: which rows changed, their distance by buckets or by merging.

Imported only when a table is large enough to be worth it: numba takes about
half a second to import, and each kernel as long to compile once per machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mt_lottery.ticket.buckets import bucket_distances

SAME, CHANGED, NAN = 0, 1, 2

_BLOCK = 512  # coordinates compared before the next look whether the row has changed


def _compile(function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    """Compile for one signature; kept on disk where numba finds a folder it can write."""
    try:
        return numba.njit(signature, nogil=True, cache=True)(function)  # type: ignore[no-any-return]
    except (RuntimeError, OSError):  # no cache folder (a read-only install), or a full disk
        return numba.njit(signature, nogil=True)(function)  # type: ignore[no-any-return]


def _scan(before: Any, after: Any, magnitude: Any, infinity: Any, state: Any) -> None:
    # Unsigned indices and one-width integers keep the inner loop free of wraparound
    # tests and of widening, so that LLVM vectorises it (5 times faster).
    one = np.int32(1)
    zero = np.int32(0)
    width = np.uint64(before.shape[1])
    step = np.uint64(_BLOCK)
    for row in range(before.shape[0]):
        differ = np.int32(0)
        nan = np.int32(0)
        for start in range(np.uint64(0), width, step):
            for column in range(start, min(width, start + step)):
                x = before[row, column]
                differ |= one if x != after[row, column] else zero
                nan |= one if before.dtype.type(x & magnitude) > infinity else zero
            if differ != 0:
                break
        state[row] = 1 if differ != 0 else 2 * nan


def _merge(before: Any, after: Any, count: Any) -> None:
    # Walks both sorted rows from both ends at once: two independent chains of
    # dependent loads, which the processor overlaps.  On equal values both sides advance, so a
    # run of ties is left diagonally, then straight: within it the difference of
    # the two counts runs monotonically from its value before the run to its
    # value after, and the largest one is found without treating ties apart.
    last = np.int64(before.shape[1]) - 1
    for row in range(before.shape[0]):
        i = np.int64(0)
        j = np.int64(0)
        p = last
        q = last
        best = np.int64(0)
        while i <= p and j <= q:
            u = before[row, np.uint64(i)]
            v = after[row, np.uint64(j)]
            s = before[row, np.uint64(p)]
            t = after[row, np.uint64(q)]
            i += np.int64(u <= v)
            j += np.int64(v <= u)
            p -= np.int64(s >= t)
            q -= np.int64(t >= s)
            best = max(best, max(abs(i - j), abs(p - q)))
        count[row] = best


@cache
def scan_kernel(bits: int) -> Callable[..., None]:
    """Kernel ``(before, after, magnitude, infinity, state)``: the state of each row.

    ``before`` and ``after`` are [R, d] C-contiguous signed integers of ``bits``
    bits, the floats' own bits; ``magnitude`` masks the sign away, ``infinity``
    is the bits of +inf; ``state`` [R] int8 receives SAME, CHANGED, or NAN (an
    unchanged row that holds a NaN).
    """
    kind: Any = {16: numba.int16, 32: numba.int32, 64: numba.int64}[bits]
    table = numba.types.Array(kind, 2, "C", readonly=True)
    return _compile(_scan, numba.void(table, table, kind, kind, numba.int8[::1]))


@cache
def merge_kernel(bits: int) -> Callable[..., None]:
    """Kernel ``(before, after, count)`` over rows sorted ascending, without NaN.

    ``before`` and ``after`` are [R, d] C-contiguous float32 or float64;
    ``count`` [R] int64 receives d times the KS distance: the largest
    difference of the numbers of coordinates ≤ x, over all x.
    """
    kind: Any = {32: numba.float32, 64: numba.float64}[bits]
    return _compile(_merge, numba.void(kind[:, ::1], kind[:, ::1], numba.int64[::1]))


@cache
def bucket_kernel(bits: int) -> Callable[..., None]:
    """Kernel :func:`bucket_distances` for rows of float32 or float64, not sorted."""
    kind: Any = {32: numba.float32, 64: numba.float64}[bits]
    work = (numba.int32[:, ::1], numba.int64[::1], numba.int64[:, ::1], kind[:, ::1])
    signature = numba.void(kind[:, ::1], kind[:, ::1], *work, numba.int64[::1])
    return _compile(bucket_distances, signature)


def scan(before: NDArray[Any], after: NDArray[Any], infinity: int, state: NDArray[np.int8]) -> None:
    """:func:`scan_kernel` for arrays of their own integer type."""
    kind = before.dtype.type
    scan_kernel(before.dtype.itemsize * 8)(
        before, after, kind(np.iinfo(before.dtype).max), kind(infinity), state
    )
