"""Speed of `mt_lottery.ks_test` against a loop over `scipy.stats.ks_2samp` and against sorting.

    python benchmarks/ks_speed.py            # about three minutes on 2 cores
    python benchmarks/ks_speed.py --quick    # under a minute

Ours, SciPy and sorting alone run alternately in one process; medians of the
repeats are compared.  SciPy runs on a sample of the rows (its time per row does
not depend on their number), ours on the whole table.  Compiling and loading the
kernels is timed apart, in fresh processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from mt_lottery.ticket.ks import ks_test

FIRST_CALL = """
import time, torch
from mt_lottery.ticket.ks import ks_test
x = torch.randn(1000, 640); y = x + torch.randn(1000, 640)
start = time.perf_counter(); ks_test(x, y); print(time.perf_counter() - start)
"""


def tables(rows: int, d: int, changed: int) -> tuple[Tensor, Tensor]:
    """A bf16 table in float32 (so with ties), and the same with ``changed`` rows moved."""
    generator = torch.Generator().manual_seed(0)
    before = (0.05 * torch.randn(rows, d, generator=generator)).bfloat16().float()
    after = before.clone()
    chosen = torch.randperm(rows, generator=generator)[:changed]
    after[chosen] += 0.01 * torch.randn(changed, d, generator=generator)
    return before, after


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def scipy_loop(before: np.ndarray, after: np.ndarray) -> list[tuple[float, float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        pairs = zip(before, after, strict=True)
        return [(r.statistic, r.pvalue) for r in (ks_2samp(x, y) for x, y in pairs)]


def sort_both(before: np.ndarray, after: np.ndarray, threads: int) -> None:
    """Copy and sort each row of both tables, as ours must; in blocks that fit the cache."""
    block = max(1, (512 << 10) // before[0].nbytes)

    def task(start: int) -> None:
        np.sort(before[start : start + block], axis=1)
        np.sort(after[start : start + block], axis=1)

    starts = range(0, len(before), block)
    if threads == 1:
        list(map(task, starts))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(task, starts))


def peak_beyond(work: Callable[[], object]) -> float | None:
    """Peak resident memory while ``work`` runs, less that before it, in MB (Linux only)."""
    start = common.reset_peak()
    work()
    peak = common.peak()
    return None if start is None or peak is None else (peak - start) / 1e6


def measure(
    name: str, rows: int, d: int, changed: int, sample: int, repeats: int
) -> dict[str, Any]:
    before, after = tables(rows, d, changed)
    x, y = before.numpy(), after.numpy()
    pick = np.random.default_rng(0).choice(rows, sample, replace=False)
    small = slice(None, (1 << 19) // d)
    ks_test(before[small], after[small])  # compiled and imported
    peak = peak_beyond(lambda: ks_test(before, after))

    times: dict[str, list[float]] = {key: [] for key in ("ours", "scipy", "sort_1", "sort_all")}
    for _ in range(repeats):
        times["ours"].append(seconds(lambda: ks_test(before, after)))
        times["scipy"].append(seconds(lambda: scipy_loop(x[pick], y[pick])) * rows / sample)
        if changed == rows:
            times["sort_1"].append(seconds(lambda: sort_both(x, y, 1)))
            times["sort_all"].append(seconds(lambda: sort_both(x, y, common.cores())))

    got = ks_test(before, after)
    wanted = np.array(scipy_loop(x[pick], y[pick]))
    np.testing.assert_allclose(got.statistic.numpy()[pick], wanted[:, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.pvalue.numpy()[pick], wanted[:, 1], rtol=1e-9)

    median = {key: statistics.median(values) for key, values in times.items() if values}
    result: dict[str, Any] = {
        "name": name,
        "rows": rows,
        "dimension": d,
        "changed_rows": changed,
        "scipy_sample_rows": sample,
        "repeats": repeats,
        "seconds": {key: [round(v, 5) for v in values] for key, values in times.items() if values},
        "median_microseconds_per_row": {k: round(v / rows * 1e6, 3) for k, v in median.items()},
        "times_faster_than_scipy": round(median["scipy"] / median["ours"], 1),
        "peak_mb_beyond_inputs": None if peak is None else round(peak, 1),
    }
    for key in ("sort_1", "sort_all"):
        if key in median:
            result[f"ours_over_{key}"] = round(median["ours"] / median[key], 2)
    shown = {k: v for k, v in result.items() if k not in ("seconds", "repeats", "name")}
    print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in shown.items()), flush=True)
    return result


def first_calls() -> dict[str, float]:
    """Seconds of the first call in a process: kernels compiled, then loaded from disk."""
    with tempfile.TemporaryDirectory() as folder:
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder, "PYTHONPATH": path}
        runs = [
            float(subprocess.check_output([sys.executable, "-c", FIRST_CALL], env=environment))
            for _ in range(2)
        ]
    return {"compiling": round(runs[0], 3), "from_cache": round(runs[1], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller tables, under a minute")
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    arguments = parser.parse_args()
    scale = 5 if arguments.quick else 1
    load = os.getloadavg()[0]
    cases = [
        measure("all rows changed, d = 4096", 4000 // scale, 4096, 4000 // scale, 500 // scale, 5),
        measure("all rows changed, d = 640", 25000 // scale, 640, 25000 // scale, 2000 // scale, 7),
        measure("5,000 of 262,144 rows touched, d = 640", 262144, 640, 5000, 2000 // scale, 7),
    ]
    report = {
        "quick": arguments.quick,
        "machine": common.machine("numpy", "scipy", "numba", "torch"),
        "load_average": {"start": round(load, 2), "end": round(os.getloadavg()[0], 2)},
        "first_call_seconds": first_calls(),
        "cases": cases,
    }
    written = common.write("ks_speed", report, arguments.output)
    print(f"first call: {report['first_call_seconds']}\nwritten: {written}")


if __name__ == "__main__":
    main()
