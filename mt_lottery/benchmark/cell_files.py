"""The files in a cell's folder, read and checked: a damaged one is a failure of that cell only."""

from __future__ import annotations

import os
from pathlib import Path

from mt_lottery.benchmark.executors.worker import LOG, read_state
from mt_lottery.benchmark.plan import Cell
from mt_lottery.errors import RecordError
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.files import damaged, is_number
from mt_lottery.runs.folder.preparing import HYPOTHESES
from mt_lottery.runs.folder.record import NAME, SWAP, Record


def read_cell(folder: Path, cell: Cell, *, earlier: bool = False) -> Run | None:
    """The run of a finished cell; None where it is not done yet.

    Args:
        folder: the cell's.
        cell: which.
        earlier: a run in the folder has earlier settings than the benchmark's.

    Raises:
        RecordError: it failed (with the reason), has earlier settings, or a file of it is damaged
            (with its path).
    """
    there = (folder / NAME).exists() or os.path.lexists(folder / SWAP)
    if earlier or not there:
        ended = read_state(folder)
        if ended is not None and ended.state != "done":
            raise RecordError(f"{ended.reason} (see {folder / LOG})")
        if not there:
            return None
        raise RecordError(
            f"{folder}: a run with earlier settings, not repeated yet. Give the command that "
            "changed the settings again."
        )
    run = Run(folder)
    _check_record(folder / NAME, run.record, cell)
    _ = run.sentence_scores
    if (folder / HYPOTHESES).exists():  # some publish numbers without their text
        _ = run.hypotheses
    return run


def _check_record(path: Path, record: Record, cell: Cell) -> None:
    """What tables rely on beyond what every reader of a record does."""
    for key, given, wanted in (
        ("lang", record.lang, cell.lang),
        ("seed", record.seed, cell.seed),
        ("method", record.method, cell.recipe),
    ):
        if given != wanted:
            raise damaged(path, f"its {key} is {given!r}, but it is in the folder of {wanted!r}")
    if record.data.test.pairs < 1:
        raise damaged(path, f"data.test.pairs is {record.data.test.pairs}")
    for metric, both in record.scores.items():
        if not isinstance(both.get("signature"), str):
            raise damaged(path, f"scores.{metric} has no signature")
        if not isinstance(both.get("column", ""), str):
            raise damaged(path, f"scores.{metric}.column is no text")
        if not is_number(both.get("shown_times", 1)) or not both.get("shown_times", 1):
            raise damaged(path, f"scores.{metric}.shown_times is no number")
