"""A benchmark's leaderboard as one more experiment of its trackers, beside its cells."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from mt_lottery.benchmark.plan import Bench
from mt_lottery.config import RunConfig
from mt_lottery.tracking import trackers


def log_leaderboard(bench: Bench, config: RunConfig, board: dict[str, Any], echo: Any) -> None:
    """Give the leaderboard to every tracker of the cells; a failure is a warning.

    Args:
        bench: the benchmark; its folder holds the leaderboard's files.
        config: of any cell.
        board: the leaderboard.
        echo: prints a line for the user.
    """
    if not trackers.names_of(config.tracker):
        return
    tracking = dataclasses.asdict(config.tracking)
    tracking["name"] = f"leaderboard {bench.group}"
    about: dict[str, Any] = {
        "recipe": "leaderboard",
        "lang": ", ".join(bench.langs),
        "seed": ", ".join(map(str, bench.seeds)),
        "methods": ", ".join(bench.recipes),
        "settings": bench.settings(),
        "tracker": config.tracker,
        "tracking": tracking,
    }
    begun = trackers.begin(about, str(bench.out), echo)
    for tracker in begun:
        tracker.leaderboard(board)
    trackers.wait(begun, config.tracking.deadline)
    archives = sorted(Path(bench.out).glob("*/*/*/seed-*/trackers/comet/*.zip"))
    if archives:
        own = shlex.quote(str(bench.out.resolve()))
        echo(f"tracker=comet: the cells, offline: comet upload {own}/*/*/*/*/trackers/comet/*.zip")
