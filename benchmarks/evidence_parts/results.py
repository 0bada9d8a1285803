"""What a finished cell leaves in ``benchmarks/results/evidence/PART.json``: numbers, no text.

A row has, of each score, its value on each of the bootstrap's 1,000 resamples of the test set, in
hundredths of a point (compressed).  So intervals, differences and equivalence are computed from
the file alone, also of cells that another machine ran.
"""

from __future__ import annotations

import base64
import json
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import common
import numpy as np
from filelock import FileLock

from evidence_parts.cells import Cell, Setting, own_training
from mt_lottery.runs.finished import Run
from mt_lottery.scoring.metric import Floats, MetricContext, make_metric
from mt_lottery.scoring.significance import Bootstrap
from mt_lottery.system.atomic import write_text

SCHEMA = 1
WHICH = ("raw", "first_line")
Row = dict[str, Any]


def packed(values: Floats) -> str:
    """Scores on the resamples, in hundredths."""
    whole = np.round(np.asarray(values) * 100).astype("<i2")
    steps = np.diff(whole, prepend=np.int16(0)).astype("<i2")
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()


def unpacked(text: str) -> Floats:
    """As :func:`packed` was given them, but for the rounding."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i2")
    return np.cumsum(steps, dtype=np.int64).astype(np.float64) / 100


def _scores(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, entry in run.record.scores.items():
        metric: Any = make_metric(key, MetricContext(object(), "any", run.record.lang[3:]))
        bootstrap, statistics = Bootstrap(metric.corpus_score), run.sentence_scores[key]
        found[key] = {k: entry[k] for k in ("signature", "column") if k in entry}
        for which in WHICH:
            resampled = bootstrap.scores([statistics[which]])
            found[key][which] = {**entry[which], "resamples": packed(resampled.resamples)}
    return found


def row_of_run(folder: Path) -> Row:
    """The numbers of a run."""
    run = Run(folder)
    record = run.record
    tickets = record.tickets
    return {
        "recipe": record.method,
        "scores": _scores(run),
        "rows": None if tickets is None else tickets.count,
        "alpha": None if tickets is None else tickets.alpha,
        "ticket": None if tickets is None else [int(i) for i in run.ticket],
        "trainable_parameters": record.trainable_parameters,
        "template": record.data.template,
        "generation": vars(record.generation),
        "cost": vars(record.cost),
        "text": {
            "train": record.data.train and record.data.train.sha256,
            "train_pairs": record.data.train and record.data.train.pairs,
            "test": record.data.test.sha256,
            "test_pairs": record.data.test.pairs,
        },
        "model": {"name": record.model.name, "sha256": record.model.sha256},
        "environment": record.environment,
        "config_hash": record.config_hash,
    }


def row_of_analysis(folder: Path, analysis: str) -> Row:
    """The numbers of ``mt-ticket certify`` or ``explain``."""
    (file,) = [f for f in folder.glob("*.json") if f.stem.startswith(("certificate", "explain"))]
    content = json.loads(file.read_text("utf-8"))
    content.pop("runs", None)
    content.pop("note", None)
    return {"recipe": None, "analysis": analysis, analysis: content,
            "environment": content.get("environment")}  # fmt: skip


def made_by(device: str | None) -> Row:
    """The package's commit and the machine, as a cell is run: what its record does not have."""
    asked = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(asked, cwd=common.ROOT, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:  # a machine without git
        done = ""
    machine = common.machine("torch", device=device or "cpu")  # a GPU is in `environment` too
    return {"commit": done or None, "machine": machine}


#: Of a cell whose process left no note.
UNKNOWN: Row = {"commit": None, "machine": None}


def key_of(row: Row) -> tuple[str, str, int]:
    """As :attr:`Cell.key`."""
    return row["arm"], row["lang"], row["seed"]


def rows_in(file: Path) -> dict[tuple[str, str, int], Row]:
    """The finished cells of a part's file."""
    return {key_of(row): row for row in json.loads(file.read_text("utf-8"))["cells"]}


class Results:
    """The files of the parts.

    Args:
        folder: of ``PART.json``.
        setting: of the cells, written into each file.

    Attributes:
        rows: key of a cell → its row.
        elsewhere: rows of the folders in ``folder``: cells that another machine ran too.
    """

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.folder, self.setting = folder, setting
        self.rows: dict[tuple[str, str, int], Row] = {}
        for file in sorted(folder.glob("p?.json")):
            self.rows |= rows_in(file)
        self.elsewhere = [
            row for file in sorted(folder.glob("*/p?.json")) for row in rows_in(file).values()
        ]

    def get(self, cell: Cell) -> Row | None:
        """A cell's row; None where it is not done, or was with other settings."""
        row = self.rows.get(cell.key)
        if row is None or row["settings"] != self.settings(cell):
            return None
        return row

    def settings(self, cell: Cell) -> dict[str, Any]:
        """What a row says of how it was made: settings, rows and options."""
        own = self.setting.settings(cell)
        own = {} if cell.arm.analysis else {k: v for k, v in own.items() if k != "device"}
        more = {
            "own": own_training(cell.arm.recipe),
            "rows": cell.arm.rows,
            "analysis": " ".join((cell.arm.analysis, *cell.arm.options)),
        }
        return own | {key: value for key, value in more.items() if value.strip()}

    def add(self, cell: Cell, row: Row, seconds: float, made: Row) -> None:
        """Keep a finished cell, beside what others have written meanwhile.

        Args:
            cell: which one.
            row: its numbers.
            seconds: that it took.
            made: :func:`made_by` of the process that ran it, or :data:`UNKNOWN`.
        """
        whole = {
            "arm": cell.arm.name, "lang": cell.lang, "seed": cell.seed,
            "settings": self.settings(cell), **row, "seconds": round(seconds, 1), **made,
        }  # fmt: skip
        self._write(cell.part, [whole])

    def merge(self, folder: Path, cells: Iterable[Cell]) -> list[Cell]:
        """Take over the finished cells of another folder, which another machine may have run.

        Returns:
            those that were taken: a cell that is done here, or was made with other settings
            there, is left.
        """
        theirs = Results(folder, self.setting)
        taken = [c for c in cells if theirs.get(c) is not None and self.get(c) is None]
        for part in {cell.part for cell in taken}:
            self._write(part, [theirs.rows[cell.key] for cell in taken if cell.part == part])
        return taken

    def _write(self, part: str, rows: list[Row]) -> None:
        """Add rows to a part's file, beside what others have written meanwhile."""
        about = {
            "schema": SCHEMA, "part": part, "rehearsal": self.setting.rehearsal,
            "train_pairs": self.setting.train_pairs, "test_pairs": self.setting.test_pairs,
        }  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        file, made = self.folder / f"{part}.json", {key_of(row): row for row in rows}
        self.rows |= made
        with FileLock(self.folder / ".lock"):
            known = {**(rows_in(file) if file.is_file() else {}), **made}
            lines = ",\n".join(json.dumps(r, ensure_ascii=False) for _, r in sorted(known.items()))
            write_text(file, f'{{{json.dumps(about)[1:-1]}, "cells": [\n{lines}\n]}}\n')

    def estimate(self, cell: Cell) -> float | None:
        """Seconds that a cell will take: those of its arm, else of its recipe, else of any."""
        measured = [row for row in [*self.rows.values()] if not row.get("absent")]
        for alike in (
            [row for row in measured if row["arm"] == cell.arm.name],
            [row for row in measured if cell.arm.recipe and row["recipe"] == cell.arm.recipe],
            measured,
        ):
            if alike:
                return float(np.median([row["seconds"] for row in alike]))
        return None
