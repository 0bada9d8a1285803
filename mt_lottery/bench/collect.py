"""The records of a benchmark's cells, read, checked against each other, and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_lottery.bench.methods import ORDER
from mt_lottery.bench.plan import BLOCKS, Cell, read_settings
from mt_lottery.bench.worker import LOG, read_state
from mt_lottery.errors import RecordError
from mt_lottery.pipeline.run_files import read_sentence_scores
from mt_lottery.pipeline.rundir import SENTENCES
from mt_lottery.record import NAME, Record, read_record

Floats = NDArray[np.float64]


@dataclass
class Results:
    """What a benchmark has so far.

    Attributes:
        out: its folder (the first one's, where two are joined).
        records: cell → its record, for cells that are done.
        folders: cell → its run directory.
        failures: cell → why it failed, for cells that were tried and are not done.
        asked: methods, langs and seeds that were asked for, in order.
        settings: as ``bench.json`` keeps them.
    """

    out: Path
    records: dict[Cell, Record] = field(default_factory=dict)
    folders: dict[Cell, Path] = field(default_factory=dict)
    failures: dict[Cell, str] = field(default_factory=dict)
    asked: dict[str, list[Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Key of the metric that ranks: the first one of the records."""
        return next(iter(next(iter(self.records.values())).scores))

    def statistics(self, cell: Cell, metric: str, which: str) -> Floats | None:
        """Sentence statistics [N, S] of a finished cell; None where it has none.

        Args:
            cell: which.
            metric: its key.
            which: ``raw`` or ``first_line``.

        Raises:
            RecordError: the file is damaged.
        """
        path = self.folders[cell] / SENTENCES
        if not path.is_file():
            return None
        lines = read_sentence_scores(path)
        try:
            found = np.array([line[metric][which] for line in lines], dtype=np.float64)
        except (KeyError, TypeError, ValueError):
            return None
        if found.ndim != 2 or len(found) != self.records[cell].data.test.pairs:
            raise RecordError(f"{path}: damaged: not one line a test sentence.")
        return found


def collect(out: Path) -> Results:
    """Read a benchmark's folder.

    Raises:
        RecordError: it is none, or records contradict each other.
    """
    content = read_settings(out)
    results = Results(out, asked=content.get("asked", {}), settings=content["settings"])
    for folder in sorted(out.glob("*/*/*/seed-*")):
        block, method, lang, seed = folder.relative_to(out).parts
        number = seed.removeprefix("seed-")
        if block not in BLOCKS or not number.isdecimal():
            continue
        _take(results, Cell(block, method, lang, int(number)), folder)
    check(results)
    return results


def collect_cells(out: Path, cells: Sequence[Cell]) -> Results:
    """Read some cells of a benchmark's folder, variants among them.

    Raises:
        RecordError: it is none, or records contradict each other.
    """
    content = read_settings(out)
    results = Results(out, asked=content.get("asked", {}), settings=content["settings"])
    for cell in cells:
        _take(results, cell, out / cell.folder)
    check(results)
    return results


def _take(results: Results, cell: Cell, folder: Path) -> None:
    """Put what stands in a cell's folder into the results."""
    results.folders[cell] = folder
    state = read_state(folder)
    if (folder / NAME).exists():
        try:
            results.records[cell] = read_record(folder)
        except RecordError as error:
            results.failures[cell] = str(error)
    elif state.get("state") in ("failed", "crashed"):
        results.failures[cell] = str(state.get("reason")) + f" (see {folder / LOG})"


def join(parts: Sequence[Results]) -> Results:
    """Several benchmarks as one.

    Raises:
        RecordError: a cell is in two of them, or they cannot be compared.
    """
    joined = Results(parts[0].out, settings=parts[0].settings)
    for part in parts:
        twice = joined.records.keys() & part.records.keys()
        if any(
            joined.records[c].config_hash != part.records[c].config_hash
            for c in twice
            if c.method != "none"
        ):
            cell = next(c for c in twice if c.method != "none")
            raise RecordError(
                f"{cell} is both in {joined.folders[cell]} and in {part.folders[cell]}, with "
                "different settings: they cannot be one leaderboard."
            )
        for name in ("records", "folders", "failures"):
            mine, theirs = getattr(joined, name), getattr(part, name)
            mine.update({c: v for c, v in theirs.items() if c not in mine})
        for key, values in part.asked.items():
            known = joined.asked.setdefault(key, [])
            known += [v for v in values if v not in known]
    check(joined)
    return joined


def check(results: Results) -> None:
    """Make sure that the scores may stand in one table.

    Raises:
        RecordError: test data, signature, decoding or model differ; both runs are named.
    """
    first: dict[str, tuple[Cell, str]] = {}

    def same(key: str, cell: Cell, value: str, what: str) -> None:
        other, known = first.setdefault(key, (cell, value))
        if known != value:
            raise RecordError(
                f"{results.folders[other]} and {results.folders[cell]} cannot stand in one "
                f"table: {what} differ ({known} and {value})."
            )

    for cell, record in results.records.items():
        same(f"test {cell.lang}", cell, record.data.test.sha256, "test data (sha256)")
        key = next(iter(record.scores))
        signature = f"{key} {record.scores[key]['signature']}"
        same(f"signature {cell.lang}", cell, signature, "metrics")
        generation = record.generation
        decoding = f"beam {generation.beam_size}, at most {generation.max_new_tokens} tokens"
        same("decoding", cell, decoding, "decoding settings")
        model = f"{record.model.name} {record.model.sha256 or record.model.revision}"
        same("model", cell, model, "models")


def in_order(methods: Sequence[str]) -> list[str]:
    """Methods as the leaderboard lists them."""
    known = {name: place for place, name in enumerate(ORDER)}
    return sorted(dict.fromkeys(methods), key=lambda m: (known.get(m, len(ORDER)), m))
