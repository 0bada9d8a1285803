"""A benchmark in progress: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mt_lottery.benchmark.executors.runner import DONE, FAILED, RUNNING, WAITING, Status, estimate
from mt_lottery.benchmark.executors.worker import LOG
from mt_lottery.benchmark.plan import Bench
from mt_lottery.errors import plural
from mt_lottery.report.plain import visible
from mt_lottery.report.printing import printer
from mt_lottery.report.progress import duration

_STYLES = {WAITING: "dim", RUNNING: "bold cyan", DONE: "green", FAILED: "bold red"}


def remaining(statuses: Sequence[Status], jobs: int) -> tuple[float, int]:
    """Seconds left of the cells whose speed is known, and how many others there are."""
    known, unknown = 0.0, 0
    for status in statuses:
        if status.state in (DONE, FAILED):
            continue
        if status.estimate is None:
            unknown += 1
            continue
        spent = time.monotonic() - status.began if status.began is not None else 0.0
        known += max(0.0, status.estimate - spent)
    return known / jobs, unknown


def time_line(todo: Sequence[Status], jobs: int, what: str) -> list[str]:
    """The line of a plan that says how long it will take; none where nothing is to do.

    Args:
        todo: what is not done.
        jobs: how many at a time.
        what: what they are called (``cell``).
    """
    seconds, unknown = remaining(todo, jobs)
    if not todo:
        return []
    if unknown == len(todo):
        return [f"  time: no {what} is measured yet; the estimate comes with the first ones"]
    rest = f", and {plural(unknown, what)} whose recipe is not measured yet" if unknown else ""
    return [f"  time: about {duration(seconds)}{rest}"]


def time_left(statuses: Sequence[Status], jobs: int) -> str:
    """``about 12 min left``, with how many cells it leaves out."""
    seconds, unknown = remaining(statuses, jobs)
    if unknown and not seconds:
        return "the recipes to come are not measured yet"
    rest = f", and {unknown} of unknown speed" if unknown else ""
    return f"about {duration(seconds)} left{rest}"


def last_line(path: Path) -> str:
    """The last line of a cell's log; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2000))
            lines = file.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


class Board:
    """Shows the state of a benchmark; used as a context manager.

    Args:
        bench: the benchmark.
        statuses: of all cells; read again at each change.
        jobs: cells at a time.
    """

    def __init__(self, bench: Bench, statuses: Sequence[Status], jobs: int) -> None:
        self.bench = bench
        self.statuses = statuses
        self.jobs = jobs
        self.console = printer(stderr=True)
        self.live: Live | None = None
        self._began = time.monotonic()
        if self.console.is_terminal:
            self.live = Live(get_renderable=self.render, console=self.console, refresh_per_second=2)

    def __enter__(self) -> Board:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def watch(self, status: Status) -> None:
        """Note a change; a line where there is no live table."""
        estimate(self.statuses)
        if self.live is not None:
            return
        done = sum(s.state in (DONE, FAILED) for s in self.statuses)
        place = f"[{done}/{len(self.statuses)}]"
        if status.state == RUNNING:
            text = f"{status.cell}: started"
        elif status.state == DONE:
            text = f"{status.cell}: done in {duration(status.seconds)}"
            text += f"; {time_left(self.statuses, self.jobs)}" if done < len(self.statuses) else ""
        else:
            text = f"{status.cell}: FAILED: {(status.reason or '').partition(chr(10))[0]}"
        print(f"{place} {visible(text)}", file=sys.stderr, flush=True)

    def render(self) -> Any:
        """The table, the running cells' last words, and the time left."""
        columns = list(dict.fromkeys((s.cell.lang, s.cell.seed) for s in self.statuses))
        several = len({seed for _, seed in columns}) > 1
        table = Table(show_edge=False, pad_edge=False)
        table.add_column("recipe")
        for lang, seed in columns:
            table.add_column(f"{lang} {seed}" if several else lang, justify="right")
        at = {(s.cell.name, s.cell.lang, s.cell.seed): s for s in self.statuses}
        for name in dict.fromkeys(s.cell.name for s in self.statuses):
            states = [self._state(at.get((name, lang, seed))) for lang, seed in columns]
            table.add_row(Text(name), *states)
        lines = [
            Text(
                f"{s.cell}: {last_line(self.bench.out / s.cell.folder / LOG)}", overflow="ellipsis"
            )
            for s in self.statuses
            if s.state == RUNNING
        ]
        done = sum(s.state in (DONE, FAILED) for s in self.statuses)
        spent = duration(time.monotonic() - self._began)
        foot = f"{done} of {plural(len(self.statuses), 'cell')}, {spent}; "
        lines.append(Text(foot + time_left(self.statuses, self.jobs)))
        return Group(table, *lines)

    def _state(self, status: Status | None) -> Text:
        if status is None:
            return Text("")
        text = status.state
        if status.state == RUNNING and status.began is not None:
            spent = time.monotonic() - status.began
            text = f"running {duration(spent)}"
            if status.estimate:
                text = f"running {min(99, round(100 * spent / status.estimate))}%"
        elif status.state == DONE:
            text = "done" if status.kept else duration(status.seconds)
        return Text(text, style=_STYLES[status.state])
