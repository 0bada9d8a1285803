"""``benchmarks/gpu.py --check``: every part of it runs, at tiny shapes on the CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LIBRARIES = {"TRL": "trl", "qlora": "bitsandbytes"}
GPU_ONLY = ("Liger", "cut-cross-entropy")


def unneeded(arm: str) -> bool:
    """Whether an arm's library is not there, or has nothing for the CPU."""
    wanted = [module for word, module in LIBRARIES.items() if word in arm]
    absent = any(importlib.util.find_spec(module) is None for module in wanted)
    return absent or any(name in arm for name in GPU_ONLY)


@pytest.mark.parametrize(
    "part",
    ["repeat", "train_rows", "ks", "train", "decode", "decode_small", "decode_compiled", "full"],
)
def test_every_part(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu_parts import Given, run_part

    run_part(part, Given("cpu", True, time.monotonic() + 600, tmp_path))
    whole = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    found: dict[str, Any] = whole["parts"][part]["result"]
    measured = found["cases" if part == "ks" else "arms"]
    assert found["machine"]["versions"]["torch"] and len(measured) > 0
    for arm, result in measured.items():
        assert "failed" not in result or unneeded(arm), (arm, result)
        assert result.get("different_results", 1) == 1, (arm, result)  # the CPU repeats
    assert {file.name for file in tmp_path.iterdir()} <= {"gpu.json", "profiles.txt"}


def test_it_ends_in_time_with_what_it_has(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--check", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, "--parts", "ks,full", "--minutes", "0.5"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    report = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    assert set(report["parts"]) == {"ks", "full"}, done.stderr
    ends = [part["ended"] for part in report["parts"].values()]
    assert done.returncode == int(ends != ["well", "well"])
    wrong = subprocess.run([*command, "--parts", "speed"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "allowed: right, repeat" in wrong.stderr
