"""What a benchmark says at its end: the leaderboard, its files, what failed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mt_lottery.benchmark.board.collect import Results
from mt_lottery.benchmark.board.metric_table import NOTE
from mt_lottery.benchmark.board.notes import SECONDS
from mt_lottery.benchmark.board.report import Written
from mt_lottery.benchmark.board.tables import metrics, summary
from mt_lottery.benchmark.executors.runner import Status
from mt_lottery.benchmark.executors.worker import echo
from mt_lottery.report.plain import visible
from mt_lottery.report.printing import Grid, printer


def tell(failed: list[Status], out: Path) -> None:
    """Say of each failed cell why, and where its log is."""
    for status in failed:
        first = (status.reason or "").partition("\n")[0]
        print(visible(f"FAILED {status.cell}: {first}"), file=sys.stderr)
        print(visible(f"       {out / status.cell.folder}"), file=sys.stderr)


def tell_failures(results: Results, block: str | None = None) -> None:
    """Say which cells of a benchmark that is read have no score, and why.

    Args:
        results: what was read.
        block: only those of it.
    """
    for cell, reason in results.failures.items():
        if block in (None, cell.block):
            echo(f"FAILED, and left out: {visible(f'{cell}: {reason}'.partition(chr(10))[0])}")


def present(written: Written, *more: Callable[[dict[str, Any]], None], shown: bool = True) -> int:
    """Show the leaderboard, where its files are, and what could not be made.

    Args:
        written: from :func:`write_reports`.
        more: what else is done with the leaderboard.
        shown: the leaderboard is printed.

    Returns:
        the exit status.
    """
    if shown:
        written.attempt("the leaderboard on the terminal", lambda: show(written.board))
    list_files(written)
    for each in more:
        written.attempt("the trackers", lambda each=each: each(written.board))  # type: ignore[misc]
    return list_problems(written)


def list_files(written: Written) -> None:
    """Say what was written."""
    if written.files:
        print("written: " + ", ".join(visible(str(path)) for path in written.files))


def list_problems(written: Written) -> int:
    """Say what could not be made, and why; returns the exit status."""
    for name, reason in written.problems.items():
        echo(f"error: {visible(name)} could not be made: {visible(reason)}")
    return written.status


def tables(board: dict[str, Any]) -> Iterator[Grid]:
    """The leaderboard for a terminal or a notebook: a table or two a block."""
    for block in board["blocks"]:
        yield summary(board, block).grid()
        if len(block.get("metrics") or []) > 1:
            yield metrics(board, block, "recipe", whole=False).grid()


def notes(board: dict[str, Any]) -> list[str]:
    """What is said below :func:`tables`."""
    unseen = {SECONDS}  # notes on columns that the files have, and a terminal has no room for
    if all(len(block.get("metrics") or []) < 2 for block in board["blocks"]):
        unseen.add(NOTE)
    return [note for note in board["notes"] if note not in unseen]


def show(board: dict[str, Any]) -> None:
    """The leaderboard on the terminal."""
    console = printer(140)
    for each in (*tables(board), *notes(board)):
        console.print(each)
