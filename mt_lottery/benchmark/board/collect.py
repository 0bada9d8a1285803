"""The records of a benchmark's cells, read, checked against each other, and put together."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mt_lottery.benchmark.bench_file import command_of, read_settings
from mt_lottery.benchmark.cell_files import read_cell
from mt_lottery.benchmark.plan import BLOCKS, Cell
from mt_lottery.benchmark.recipes import JOINT, place
from mt_lottery.errors import RecordError, plural
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.directions import alone, directions_in
from mt_lottery.runs.folder.record import Record
from mt_lottery.scoring.metric import Floats

Statistics = dict[str, dict[str, Floats]]


@dataclass
class Results:
    """What a benchmark has so far.

    Attributes:
        out: its folder (the first one's, where two are joined).
        records: cell → its record, for cells that are done.
        folders: cell → its run directory.
        sentences: cell → metric → ``raw`` or ``first_line`` → sentence statistics.
        failures: cell → why it failed, for cells that were tried and are not done, or of which
            a file is damaged: one such cell does not stop the others.
        asked: recipes, langs and seeds that were asked for, in order, and the commands that did.
        settings: as ``bench.json`` keeps them.
    """

    out: Path
    records: dict[Cell, Record] = field(default_factory=dict)
    folders: dict[Cell, Path] = field(default_factory=dict)
    sentences: dict[Cell, Statistics] = field(default_factory=dict)
    failures: dict[Cell, str] = field(default_factory=dict)
    asked: dict[str, list[Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Key of the metric that ranks: the first one of the records."""
        return next(iter(next(iter(self.records.values())).scores))

    @property
    def command(self) -> str:
        """The commands that make it anew, as one line."""
        return command_of(self.asked, self.settings)

    def statistics(self, cell: Cell, metric: str, which: str) -> Floats | None:
        """Sentence statistics [N, S] of a finished cell; None where it has none.

        Args:
            cell: which.
            metric: its key.
            which: ``raw`` or ``first_line``.
        """
        return self.sentences.get(cell, {}).get(metric, {}).get(which)


_SEED = re.compile(r"\d{1,10}", re.ASCII)


def collect(out: Path) -> Results:
    """Read a benchmark's folder.

    Raises:
        RecordError: it is none, or records contradict each other.
    """
    content = read_settings(out)
    results = Results(out, asked=content.get("asked", {}), settings=content["settings"])
    try:
        next(os.scandir(out), None)  # glob takes an unreadable folder for an empty one
    except OSError as error:
        raise RecordError(f"{out}: cannot be read: {error.strerror}.") from error
    joint: dict[tuple[str, str], str] = {}  # of several joint runs of a recipe, the largest
    found = []
    for folder in sorted(out.glob("*/*/*/seed-*")):
        block, recipe, name, seed = folder.relative_to(out).parts
        number = seed.removeprefix("seed-")
        if block not in BLOCKS or not _SEED.fullmatch(number):
            continue
        lang = name.replace("+", ",")
        found.append((Cell(block, recipe, lang, int(number)), folder))
        known = joint.get((block, recipe), lang)
        joint[block, recipe] = max(known, lang, key=lambda name: name.count(","))
    for cell, folder in found:
        if "," not in cell.lang or joint[cell.block, cell.recipe] == cell.lang:
            _take(results, cell, folder, content["anew"])
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
        _take(results, cell, out / cell.folder, content["anew"])
    check(results)
    return results


def _take(results: Results, cell: Cell, folder: Path, anew: Collection[str]) -> None:
    """Put what a cell's folder holds into the results.

    A run whose settings are no longer the benchmark's (one of ``anew``) is left out of its tables.
    """
    each = [cell]
    if "," in cell.lang:  # a cell of each direction, beside those that have it alone
        recipe = cell.recipe + JOINT
        each = [replace(cell, recipe=recipe, lang=lang) for lang in cell.lang.split(",")]
    results.folders |= dict.fromkeys(each, folder)
    try:
        earlier = folder.relative_to(results.out).as_posix() in anew
        found = read_cell(folder, cell, earlier=earlier)
        records = {} if found is None else _parts(found, each)
    except RecordError as error:
        results.failures |= dict.fromkeys(each, str(error))
        return
    for one, (record, statistics) in records.items():
        results.records[one], results.sentences[one] = record, statistics


def _parts(run: Run, cells: Sequence[Cell]) -> dict[Cell, tuple[Record, Statistics]]:
    """What a run says of each of its cells: all of it, or of each direction its own.

    Raises:
        RecordError: a direction is missing.
    """
    record, statistics = run.record, run.sentence_scores
    known = directions_in(record)
    if not known:
        return {cells[0]: (record, statistics)}
    places, start = {}, 0
    for lang, one in known.items():
        places[lang] = slice(start, start := start + one.test.pairs)
    return {
        cell: (
            alone(record, cell.lang),
            {
                metric: {which: values[places[cell.lang]] for which, values in both.items()}
                for metric, both in statistics.items()
            },
        )
        for cell in cells
    }


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
            if c.recipe != "none"
        ):
            cell = next(c for c in twice if c.recipe != "none")
            raise RecordError(
                f"{cell} is both in {joined.folders[cell]} and in {part.folders[cell]}, with "
                "different settings: they cannot be one leaderboard."
            )
        for name in ("records", "folders", "sentences", "failures"):
            mine, theirs = getattr(joined, name), getattr(part, name)
            mine.update({c: v for c, v in theirs.items() if c not in mine})
        for key, values in part.asked.items():
            known = joined.asked.setdefault(key, [])
            known += [v for v in values if v not in known]
    check(joined)
    return joined


def nothing_finished(results: Results, what: str) -> str:
    """That no cell is done, and why the cells failed that did."""
    said = [f"{results.out}: no cell is finished yet; there is nothing to {what}."]
    said += [f"  {cell}: {reason}" for cell, reason in list(results.failures.items())[:5]]
    return "\n".join(said)


def check(results: Results) -> None:
    """Make sure that the scores can be compared in one table.

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
        test = record.data.test
        same(f"test {cell.lang}", cell, test.sha256, "test data (sha256)")
        same(f"pairs {cell.lang}", cell, str(test.pairs), "numbers of test sentences")
        key = next(iter(record.scores))
        signature = f"{key} {record.scores[key]['signature']}"
        same(f"signature {cell.lang}", cell, signature, "metrics")
        generation = record.generation
        decoding = (
            f"beam {generation.beam_size}, at most {plural(generation.max_new_tokens, 'token')}"
        )
        same("decoding", cell, decoding, "decoding settings")
        model = f"{record.model.name} {record.model.sha256 or record.model.revision}"
        same("model", cell, model, "models")


def in_order(recipes: Sequence[str]) -> list[str]:
    """Recipes as the leaderboard lists them."""
    return sorted(dict.fromkeys(recipes), key=place)
