"""Two-sided two-sample Kolmogorov-Smirnov test for every row of two embedding tables.

The paper (arXiv 2402.02801, §3) compares, for each token, the distribution of
the d coordinates of its embedding before and after the embedding layer was
tuned.  The result equals ``scipy.stats.ks_2samp`` row by row; it is faster
because unchanged rows are only compared, most others go into buckets instead of
being sorted (:mod:`mt_lottery.ticket.buckets`), the rest is sorted by NumPy and
merged in compiled code, and a p-value is computed once for each distance that
occurs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mt_lottery.errors import TuningError, plural
from mt_lottery.ticket.ks_torch import distances_torch
from mt_lottery.ticket.pvalues import nominal_pvalues, resolve_method

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

_MEMORY = 192 << 20  # bytes beside the inputs and the result
_SORT_BYTES = 512 << 10  # one table's rows of a task: both tables' stay in the L2 cache
_SCAN_BYTES = 2 << 20
_SMALL = 1 << 16  # coordinates; below, importing numba takes longer than doing without
_INFINITY = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80, torch.float32: 0x7F800000}
_INFINITY[torch.float64] = 0x7FF0000000000000


@dataclass(frozen=True, eq=False)
class KSResult:
    """KS distance of every row, and what it would mean under the test's null.

        >>> import torch, mt_lottery as mtl
        >>> before = torch.arange(8.0).repeat(2, 1)
        >>> mtl.ks_test(before, before + torch.tensor([[0.0], [4.0]])).statistic
        tensor([0.0000, 0.5000], dtype=torch.float64)

    Attributes:
        statistic: [V] float64 on the CPU, the distance D in [0, 1], a multiple of 1/d.
        pvalue: [V] float64 on the CPU, *nominal*: a relabelling of D for this d that
            ranks rows and controls no error rate (before and after are paired).
        dimension: d.
    """

    statistic: Tensor
    pvalue: Tensor
    dimension: int


def ks_test(
    before: Tensor, after: Tensor, *, progress: bool = False, method: str = "auto"
) -> KSResult:
    """Test each row of ``before`` against the same row of ``after``.

    Equals ``scipy.stats.ks_2samp(before[i], after[i], method=method)`` to 1e-12
    (statistic) and 1e-9 relative (p-value), ties, ±0, infinities and SciPy's
    silent turns to its asymptotic form included.  Bit-identical rows have D = 0
    and p = 1.  Uses every core this process may run on, or the GPU that holds the
    tables, and at most 256 MB beside them (more only where one row alone needs more).

        >>> before = torch.arange(8.0).repeat(2, 1)
        >>> ks_test(before, before + torch.tensor([[0.0], [4.0]])).pvalue
        tensor([1.0000, 0.2827], dtype=torch.float64)

    Args:
        before: [V, d] float32, float16, bfloat16 or float64; on CPU or GPU.
        after: [V, d], same device.  If the dtypes differ, both are upcast to the
            wider one (float16 and bfloat16 meet in float32).
        progress: show a progress bar on standard error.
        method: ``"auto"`` (exact for d ≤ 10,000), ``"exact"`` or ``"asymp"``.

    Raises:
        TuningError: shapes, dtypes or devices that do not fit; a NaN (the row is named).
    """
    _check(before, after)
    rows, d = before.shape
    resolve_method(method, d)
    with _progress(rows, progress) as advance, torch.no_grad():
        if before.device.type != "cpu" or before.numel() <= _SMALL:
            count = distances_torch(before, after, memory=_MEMORY, advance=advance).numpy()
        else:
            count = distances_cpu(before, after, advance=advance)
    _refuse_nan(before, after, count)
    return KSResult(
        torch.from_numpy(count / d), torch.from_numpy(nominal_pvalues(count, d, method)), d
    )


def _check(before: Tensor, after: Tensor) -> None:
    for name, table in (("before", before), ("after", after)):
        if not isinstance(table, Tensor):
            raise TuningError(f"{name} must be a torch.Tensor, got {type(table).__name__}.")
        if table.layout != torch.strided or table.is_meta or table.dtype not in DTYPES:
            kinds = ", ".join(str(kind).removeprefix("torch.") for kind in DTYPES)
            raise TuningError(
                f"{name} must be a dense tensor of {kinds}, "
                f"got {table.dtype}, {table.layout}, on {table.device}."
            )
        if table.ndim != 2 or table.shape[1] == 0:
            raise TuningError(f"{name} must have the shape [V, d], d ≥ 1; got {[*table.shape]}.")
    if before.shape != after.shape:
        raise TuningError(
            f"before {[*before.shape]} and after {[*after.shape]} must have the same shape: "
            "both are the embedding table of one model, with one vocabulary."
        )
    if before.device != after.device:
        raise TuningError(
            f"before is on {before.device}, after on {after.device}: move one to the other."
        )


def _refuse_nan(before: Tensor, after: Tensor, count: NDArray[np.int64]) -> None:
    bad = np.flatnonzero(count < 0)
    if bad.size:
        row = int(bad[0])
        where = "before" if before[row].isnan().any() else "after"
        raise TuningError(
            f"Row {row} of {where} holds a NaN ({bad.size} of {plural(count.size, 'row')} do, in "
            "before or after): the KS distance is not defined. Has the training diverged?"
        )


class _Table:
    """A CPU tensor as NumPy rows; bfloat16, which NumPy lacks, as its bits."""

    def __init__(self, tensor: Tensor, dtype: torch.dtype) -> None:
        tensor = tensor.detach().resolve_neg()  # of a lazily negated view NumPy gets the copy
        self.own = tensor.dtype
        raw = tensor.view(torch.int16) if self.own == torch.bfloat16 else tensor
        self.raw: NDArray[Any] = raw.numpy()
        self.float = np.dtype(np.float64 if dtype == torch.float64 else np.float32)

    def bits(self, rows: slice) -> NDArray[Any]:
        """The rows' bits as integers, C-contiguous; a view where that is possible."""
        raw = np.ascontiguousarray(self.raw[rows])
        return raw.view(f"i{raw.dtype.itemsize}")

    def values(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """The rows as C-contiguous float32 or float64; new memory if chosen by number."""
        raw = self.raw[rows]
        if self.own == torch.bfloat16:
            widened = raw.astype(np.uint32, order="C")
            widened <<= 16  # bfloat16 is the upper half of float32
            return widened.view(np.float32).astype(self.float, copy=False)
        return raw.astype(self.float, order="C", copy=False)


def distances_cpu(
    before: Tensor, after: Tensor, *, advance: Callable[[int], object] | None = None
) -> NDArray[np.int64]:
    """KS distance of every row in units of 1/d, for tables in main memory.

    Args:
        before: [V, d].
        after: [V, d].
        advance: called with the number of rows done since the last call.

    Returns:
        [V] int64: counts in 0..d, or -1 where a row holds a NaN.
    """
    from mt_lottery.ticket import buckets, kernels

    rows, d = before.shape
    dtype = torch.promote_types(before.dtype, after.dtype)
    mixed = before.dtype != after.dtype
    if dtype.itemsize < 4:
        dtype = torch.float32
    x, y = _Table(before, dtype), _Table(after, dtype)
    infinity = _INFINITY[dtype if mixed else before.dtype]
    row_bytes = d * dtype.itemsize
    use_buckets = buckets.MIN_DIMENSION <= d <= buckets.MAX_DIMENSION
    beside = d * buckets.BYTES_PER_COORDINATE if use_buckets else 0
    workers = max(1, min(_cores(), _MEMORY // (6 * row_bytes + beside)))
    sort_rows = max(1, min(_SORT_BYTES, _MEMORY // (6 * workers)) // row_bytes)
    scan_rows = max(1, min(_SCAN_BYTES, _MEMORY // (6 * workers)) // row_bytes)
    # Compiled here, not in the threads, which would all do it at once.
    kernels.scan_kernel(8 * (dtype if mixed else before.dtype).itemsize)
    merge = kernels.merge_kernel(8 * dtype.itemsize)
    by_bucket = kernels.bucket_kernel(8 * dtype.itemsize) if use_buckets else None

    state = np.empty(rows, np.int8)
    count = np.zeros(rows, np.int64)

    def scan(start: int) -> int:
        part = slice(start, start + scan_rows)
        if mixed:
            a, b = (t.values(part).view(f"i{dtype.itemsize}") for t in (x, y))
        else:
            a, b = x.bits(part), y.bits(part)
        kernels.scan(a, b, infinity, state[part])
        return int(np.count_nonzero(state[part] != kernels.CHANGED))

    def sort_and_merge(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int64]:
        a.sort(axis=1)
        b.sort(axis=1)
        distance = np.empty(len(a), np.int64)
        # NumPy sorts NaN to the end, so the last value tells. The merge would never end on one.
        nan = np.isnan(a[:, -1]) | np.isnan(b[:, -1])
        a[nan], b[nan] = 0, 0
        merge(a, b, distance)
        distance[nan] = -1
        return distance

    def compare(start: int) -> int:
        part = changed[start : start + sort_rows]
        a, b = x.values(part), y.values(part)
        if by_bucket is None:
            count[part] = sort_and_merge(a, b)
        else:
            distance = np.empty(part.size, np.int64)
            by_bucket(a, b, *buckets.work_arrays(d, a.dtype), distance)
            undecided = np.flatnonzero(distance == buckets.UNDECIDED)
            if undecided.size:
                distance[undecided] = sort_and_merge(a[undecided], b[undecided])
            count[part] = distance
        return int(part.size)

    for done in _parallel(scan, range(0, rows, scan_rows), workers):
        if advance is not None:
            advance(done)
    changed = np.flatnonzero(state == kernels.CHANGED)
    for done in _parallel(compare, range(0, changed.size, sort_rows), workers):
        if advance is not None:
            advance(done)
    count[state == kernels.NAN] = -1
    return count


def _cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parallel(task: Callable[[int], int], starts: range, workers: int) -> Iterator[int]:
    # Threads, not processes: sort and kernels release the GIL, and nothing is copied.
    if workers == 1 or len(starts) < 2:
        yield from map(task, starts)
        return
    with ThreadPoolExecutor(min(workers, len(starts))) as pool:
        yield from pool.map(task, starts)


@contextmanager
def _progress(rows: int, show: bool) -> Iterator[Callable[[int], object] | None]:
    if not show:
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=rows, desc="KS test", unit=" rows", unit_scale=True) as bar:
        yield bar.update
