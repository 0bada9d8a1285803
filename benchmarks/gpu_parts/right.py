"""Part *right*: the tests that compare the device with the CPU."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import common

from gpu_parts.work import Given, Report


def run(given: Given, name: str) -> None:
    report = Report(given, name)
    chosen = ["-m", "gpu"] if given.cuda else ["-k", "ks_on_device"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu", *chosen]
    start = time.perf_counter()
    with (given.out / "right.log").open("w") as log:
        done = subprocess.run(
            command,
            cwd=common.ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=max(given.left(), 1),
            check=False,
        )
    lines = (given.out / "right.log").read_text("utf-8", "replace").strip().splitlines()
    report.add("tests", "gpu", {
        "exit": done.returncode,
        "seconds": round(time.perf_counter() - start, 1),
        "summary": lines[-1] if lines else "",
        "failed": [line for line in lines if re.match("(FAILED|ERROR) ", line)],
    })  # fmt: skip
