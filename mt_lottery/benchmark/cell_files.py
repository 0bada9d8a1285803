"""The files in a cell's folder, read and checked: a damaged one is a failure of that cell only."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mt_lottery.benchmark.executors.worker import LOG, read_state
from mt_lottery.benchmark.plan import Cell
from mt_lottery.errors import MTLotteryError, RecordError
from mt_lottery.reading import read_json_lines, shown
from mt_lottery.runs.folder.files import read_hypotheses
from mt_lottery.runs.folder.preparing import HYPOTHESES, SENTENCES
from mt_lottery.runs.folder.record import NAME, SWAP, Record, read_record
from mt_lottery.scoring.metric import WHICH, Floats, MetricContext, can_be_resampled, make_metric


@dataclass
class CellFiles:
    """A finished cell.

    Attributes:
        folder: its run directory.
        record: the numbers.
        statistics: metric → ``raw`` or ``first_line`` → sentence statistics [N, S]; empty where
            the cell has none.
    """

    folder: Path
    record: Record
    statistics: dict[str, dict[str, Floats]] = field(default_factory=dict)


def read_cell(folder: Path, cell: Cell) -> CellFiles | None:
    """A finished cell; None where it is not done yet.

    Raises:
        RecordError: it failed (with the reason), or a file of it is damaged (with its path).
    """
    if not (folder / NAME).exists() and not os.path.lexists(folder / SWAP):
        ended = read_state(folder)
        if ended is not None and ended.state != "done":
            raise RecordError(f"{ended.reason} (see {folder / LOG})")
        return None
    record = read_record(folder)
    _check_record(folder / NAME, record, cell)
    files = CellFiles(folder, record)
    if (folder / SENTENCES).exists():
        files.statistics = _read_statistics(folder / SENTENCES, record)
    if (folder / HYPOTHESES).exists():
        read_outputs(folder, record)
    return files


def _damaged(path: Path, what: str) -> RecordError:
    return RecordError(f"{shown(path)}: damaged: {what}.")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_record(path: Path, record: Record, cell: Cell) -> None:
    """What tables rely on beyond what every reader of a record does."""
    for key, given, wanted in (
        ("lang", record.lang, cell.lang),
        ("seed", record.seed, cell.seed),
        ("method", record.method, cell.recipe),
    ):
        if given != wanted:
            raise _damaged(path, f"its {key} is {given!r}, but it is in the folder of {wanted!r}")
    if record.data.test.pairs < 1:
        raise _damaged(path, f"data.test.pairs is {record.data.test.pairs}")
    for metric, both in record.scores.items():
        if not isinstance(both.get("signature"), str):
            raise _damaged(path, f"scores.{metric} has no signature")
        if not isinstance(both.get("column", ""), str):
            raise _damaged(path, f"scores.{metric}.column is no text")
        if not _number(both.get("shown_times", 1)) or not both.get("shown_times", 1):
            raise _damaged(path, f"scores.{metric}.shown_times is no number")


def _read_statistics(path: Path, record: Record) -> dict[str, dict[str, Floats]]:
    """Sentence statistics of every metric that has them."""
    lines = read_json_lines(path, RecordError)
    if len(lines) != record.data.test.pairs:
        raise _damaged(path, f"{len(lines)} lines for {record.data.test.pairs} test sentences")
    statistics: dict[str, dict[str, Floats]] = {}
    for metric in record.scores:
        if not any(metric in line for _, line in lines):
            continue  # a metric without sentence statistics
        statistics[metric] = {which: _column(path, lines, metric, which) for which in WHICH}
        _try_score(path, metric, statistics[metric], record)
    return statistics


def _column(path: Path, lines: list[tuple[int, Any]], metric: str, which: str) -> Floats:
    rows: list[list[float]] = []
    for number, line in lines:
        both = line.get(metric)
        row = both.get(which) if isinstance(both, dict) else None
        if not isinstance(row, list) or not row or not all(map(_number, row)):
            raise _damaged(path, f"line {number}: {metric}.{which} is no list of numbers")
        if rows and len(row) != len(rows[0]):
            raise _damaged(
                path, f"line {number}: {metric}.{which} has {len(row)} numbers, not {len(rows[0])}"
            )
        rows.append(row)
    return np.array(rows, dtype=np.float64)


def _try_score(path: Path, metric: str, both: dict[str, Floats], record: Record) -> None:
    """Make sure that the metric makes a score of the statistics."""
    target = record.lang.partition("-")[2]
    try:
        scorer = make_metric(metric, MetricContext(object(), "any", target))
    except MTLotteryError:  # a plugin's metric, and the plugin is not here
        return
    if not can_be_resampled(scorer):
        return
    for which, statistics in both.items():
        try:
            with np.errstate(over="ignore"):
                score = float(scorer.corpus_score(statistics.sum(axis=0)))
        except Exception as error:  # of another metric, or a plugin's that changed
            raise _damaged(path, f"{metric}.{which} makes no score: {error}") from error
        if not math.isfinite(score):
            raise _damaged(path, f"{metric}.{which} makes the score {score}")


def read_outputs(folder: Path, record: Record) -> list[dict[str, Any]]:
    """The lines of ``hypotheses.jsonl``; empty where there is no such file.

    Raises:
        RecordError: it is damaged.
    """
    path = folder / HYPOTHESES
    if not path.exists():
        return []
    return read_hypotheses(path, record.data.test.pairs)
