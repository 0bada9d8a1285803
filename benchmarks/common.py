"""What the benchmarks share: the machine's description, peak memory, fresh processes, training."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mt_lottery.config import RunConfig

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[1]


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine(*packages: str, device: str = "cpu") -> dict[str, Any]:
    """Processor, system, and the versions of the packages that were measured."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        names = [s for s in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in s]
        model = names[0].split(":", 1)[1].strip() if names else model
    found: dict[str, Any] = {
        "cpu": model,
        "cores": cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found | {name: importlib.metadata.version(name) for name in packages}


def _status(key: str) -> int:
    """A line of /proc/self/status in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[key].split()[0]) * 1024


def reset_peak() -> int | None:
    """Start a new measurement of peak resident memory; what is resident now (Linux only)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # or freed memory would be used unseen
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except (OSError, KeyError, AttributeError):
        return None


def peak() -> int | None:
    """Peak resident memory since :func:`reset_peak`, in bytes."""
    try:
        return _status("VmHWM")
    except (OSError, KeyError):
        return None


def own_training(config: RunConfig) -> str:
    """Learning rates × epochs of a run: a result must say them, as a later version may change them.

    Args:
        config: with the recipe's own settings.

    Returns:
        ``train 0.01 × 2, probe 0.003 × 2``; nothing where nothing is trained.
    """
    from mt_lottery.registry import TUNERS

    tuner = TUNERS.get(config.tuner.name)(config.tuner)
    names = ["train"] if tuner.trains else []
    names += [tuner.probe_section] if tuner.probe is not None else []
    sections = {name: getattr(config, name) for name in names}
    return ", ".join(f"{name} {own.lr:g} × {own.epochs}" for name, own in sections.items())


def in_fresh_process(script: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark script for one arm; its last line of output is a JSON object."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def write(name: str, report: dict[str, Any], output: Path | None = None) -> Path:
    """Write a report as JSON; returns where.

    A quick run's goes beside the committed one, not over it.
    """
    path = output or RESULTS / (f"{name}.quick.json" if report.get("quick") else f"{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmark": name, **report}, indent=1) + "\n", "utf-8")
    return path
