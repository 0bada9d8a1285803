"""What sharing saves: `mt-bench all` against the same cells run one by one with mt-train.

    python benchmarks/harness.py             # the real model, minutes to an hour
    python benchmarks/harness.py --quick     # fewer recipes, less text

One by one, each cell is a process of its own with an empty cache: it trains its own
probe and translates with the original model itself, as someone does who runs
`mt-train` for each method on a fresh machine.  The converted model is there for
both.  Each cell's hypotheses are compared: sharing changes no result.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common

from mt_lottery.benchmark.plan import PRESETS, Bench, Cell
from mt_lottery.benchmark.recipes import leaderboard_recipes
from mt_lottery.config.compose import compose
from mt_lottery.system.values import cache_folder


def timed(command: list[str], cache: Path) -> float:
    """Seconds of a command with a cache of its own; the converted model is linked into it."""
    (cache / "models").parent.mkdir(parents=True, exist_ok=True)
    if not (cache / "models").exists() and (cache_folder() / "models").is_dir():
        shutil.copytree(cache_folder() / "models", cache / "models", copy_function=os.link)
    path = os.pathsep.join(filter(None, (str(common.ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "MT_LOTTERY_CACHE": str(cache), "PYTHONPATH": path}
    start = time.perf_counter()
    subprocess.run(
        command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="four recipes, little text")
    parser.add_argument("--lang", default="ro")
    parser.add_argument("--preset", choices=PRESETS, default="smoke")
    parser.add_argument("--recipes", default="all", help="comma-separated")
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="for every cell")
    given = parser.parse_args()
    names = leaderboard_recipes() if given.recipes == "all" else given.recipes.split(",")
    settings = list(given.settings)
    if given.quick and given.recipes == "all":
        names = ["none", "embed", "ks_transfer", "ks_lottery"]
        settings += ["data.train_pairs=8", "data.test_pairs=4", "translate.max_new_tokens=24"]
    # hard links into the cache need the same disk
    scratch = Path(tempfile.mkdtemp(prefix="harness-", dir=cache_folder()))
    try:
        report = measure(given, names, settings, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"written: {common.write('harness', report, given.output)}")


def measure(
    given: argparse.Namespace, names: list[str], settings: list[str], scratch: Path
) -> dict[str, Any]:
    out = scratch / "bench"
    together = timed(
        [
            *(sys.executable, "-m", "mt_lottery.cli.bench", *names, "--langs", given.lang),
            *("--preset", given.preset, "--out", str(out), *settings),
        ],
        scratch / "cache",
    )
    overrides = PRESETS[given.preset] | dict(s.split("=", 1) for s in settings)
    bench = Bench(scratch / "alone", names, [f"en-{given.lang}"], [0], overrides)
    alone: dict[str, float] = {}
    training: dict[str, str] = {}
    for method in names:
        cell = Cell("runs", method, f"en-{given.lang}", 0)
        arguments = [a for a in bench.arguments(cell) if a != "baseline=false"]
        training[method] = common.own_training(compose(arguments))
        alone[method] = timed(
            [sys.executable, "-m", "mt_lottery.cli.train", *arguments], scratch / f"cache-{method}"
        )
        one, other = (
            (folder / cell.folder / "hypotheses.jsonl").read_text() for folder in (out, bench.out)
        )
        if one != other:
            raise SystemExit(f"{method}: the shared cell's hypotheses differ from its own run's")
        print(f"{method}: {alone[method]:.0f} s alone", flush=True)
    total = sum(alone.values())
    print(f"together {together:.0f} s, one by one {total:.0f} s: {together / total:.2f}")
    return {
        "quick": given.quick,
        "preset": given.preset,
        "lang": f"en-{given.lang}",
        "settings": settings,
        "training": training,
        "machine": common.machine("torch", "transformers", "peft"),
        "seconds_together": round(together, 1),
        "seconds_one_by_one": {k: round(v, 1) for k, v in alone.items()},
        "ratio": round(together / total, 3),
        "hypotheses": "identical",
        "seconds_of_cells": {
            m: json.loads((out / f"runs/{m}/en-{given.lang}/seed-0/cell.json").read_text())[
                "seconds"
            ]
            for m in names
        },
    }


if __name__ == "__main__":
    main()
