"""Part *ks*: the KS test of whole tables, against the CPU and against sorting alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from gpu_parts.work import Given, Report, attempt, clear, median, peak, seconds
from mt_lottery.ticket.ks import ks_test
from mt_lottery.ticket.ks_torch import distances_torch

CASES = {"llama_7b": (32_000, 4096), "llama_3_70b": (128_256, 8192)}
TINY = {"tiny": (600, 640)}
PIECE = 4096  # rows that are sorted at a time, for `torch.sort` alone
SAMPLE = 1500  # rows that are compared with the CPU's


def tables(rows: int, d: int, device: str) -> tuple[Tensor, Tensor]:
    """Every row changed; float32, as the rows of a probe are, made piece by piece."""
    torch.manual_seed(0)
    before = torch.empty(rows, d, device=device)
    after = torch.empty(rows, d, device=device)
    for start in range(0, rows, PIECE):
        part = slice(start, start + PIECE)
        before[part].normal_(std=0.02)
        after[part] = before[part] + torch.randn_like(before[part]).mul_(0.005)
    return before, after


def in_pieces(work: Callable[[Tensor, Tensor], object], before: Tensor, after: Tensor) -> None:
    for start in range(0, len(before), PIECE):
        work(before[start : start + PIECE], after[start : start + PIECE])


def sort_both(x: Tensor, y: Tensor) -> None:
    """Each table's rows sorted: the least that any test by sorting does."""
    x.sort(dim=1)
    y.sort(dim=1)


def measure(rows: int, d: int, given: Given) -> dict[str, object]:
    before, after = tables(rows, d, given.device)
    clear(given.device)
    base = peak(given.device) or 0
    ours = seconds(lambda: ks_test(before, after), given.device)
    beside = (peak(given.device) or 0) - base
    sizes = {
        f"{mebibytes} MiB": seconds(
            lambda room=mebibytes << 20: distances_torch(before, after, memory=room), given.device
        )
        for mebibytes in (96, 192, 384, 768, 1536)
    }
    sorting = seconds(lambda: in_pieces(sort_both, before, after), given.device)
    sample = torch.linspace(0, rows - 1, min(SAMPLE, rows)).long().to(given.device)
    x, y = before[sample].cpu(), after[sample].cpu()
    ks_test(x, y)  # compiles
    start = time.perf_counter()
    wanted = ks_test(x, y)
    cpu = (time.perf_counter() - start) * rows / len(sample)
    found = ks_test(before[sample], after[sample])
    return {
        "rows": rows,
        "dimension": d,
        "seconds": median(ours),
        "seconds_of_sorting_both_tables": median(sorting),
        "over_sorting": round(median(ours) / median(sorting), 3),
        "seconds_on_the_cpu": round(cpu, 3),
        "times_faster_than_the_cpu": round(cpu / median(ours), 1),
        "bytes_beside_the_tables": beside,
        "equals_the_cpus": bool(
            torch.equal(found.statistic, wanted.statistic)
            and torch.equal(found.pvalue, wanted.pvalue)
        ),
        "seconds_of_distances_with": {size: median(found) for size, found in sizes.items()},
        "all": {"ours": ours, "sorting": sorting},
    }


def run(given: Given, name: str) -> None:
    report = Report(given, name)
    for case, (rows, d) in (TINY if given.check else CASES).items():
        attempt(report, "cases", case, lambda rows=rows, d=d: measure(rows, d, given))
        clear(given.device)
