"""Starts Python on several processes, as torchrun does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def torchrun(*arguments: object, processes: int = 2) -> list[str]:
    """The command line: a script, or ``-m`` and a module, and its arguments."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(processes), *map(str, arguments)),
    ]


def environment(*paths: Path, **more: str) -> dict[str, str]:
    """One thread a process; the tests' own modules, and more folders, can be imported."""
    found = [*map(str, paths), str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(found), **more}


def kill(process: subprocess.Popen[str]) -> None:
    """Kill torchrun and what it started (each in a session of its own), and wait."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for number in [process.pid, *map(int, children)]:
        os.kill(number, signal.SIGKILL)
    process.communicate(timeout=60)


def start(
    *arguments: object, processes: int = 2, cwd: Path | None = None, **more: str
) -> subprocess.Popen[str]:
    """Start it; ``more`` goes into the environment."""
    return subprocess.Popen(
        torchrun(*arguments, processes=processes),
        cwd=cwd,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job ignores Ctrl-C, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run(
    *arguments: object, processes: int = 2, cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    process = start(*arguments, processes=processes, cwd=cwd, **more)
    try:
        out, err = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:  # let none of it live on
        kill(process)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
