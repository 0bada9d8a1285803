"""From records to the leaderboard: one plain dictionary that every format is rendered from.

The two halves stand side by side.  *Raw* scores the whole output; *first line*
what comes before the first line break.  The gain in raw score over the original
model is split into *learning to stop* (what it exceeds the gain on first lines by)
and *translating better* (the gain on first lines): accounting, not causation.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mt_lottery.benchmark.board import notes
from mt_lottery.benchmark.board.collect import Results, in_order, nothing_finished
from mt_lottery.benchmark.board.metric_table import NOTE, common_metrics, metric_table
from mt_lottery.benchmark.plan import BLOCKS, Cell
from mt_lottery.benchmark.recipes import label, summary
from mt_lottery.errors import MTLotteryError, RecordError, plural
from mt_lottery.runs.folder.record import Record
from mt_lottery.scoring.metric import MetricContext, can_be_resampled, make_metric
from mt_lottery.scoring.significance import (
    Bootstrap,
    ResampledScore,
    average,
    resampled,
)
from mt_lottery.scoring.verdicts import compare_with_best

SCHEMA = 1
SHARES = ("stopped", "length_ratio", "empty", "truncated", "off_target")
COSTS = ("probe_seconds", "train_seconds", "decode_seconds", "peak_memory_bytes", "adapter_bytes")

EXPLANATIONS = {
    "runs": "Each recipe with its own settings.",
    "tuned": "Each recipe with the best of {trials} tried on the dev set.",
}


def build(results: Results, *, created: str | None = None) -> dict[str, Any]:
    """The leaderboard.

    Args:
        results: from :func:`mt_lottery.benchmark.board.collect.collect`.
        created: ISO time; now if None.

    Raises:
        RecordError: no cell is done yet.
    """
    if not results.records:
        raise RecordError(nothing_finished(results, "show"))
    return Builder(results).board(created)


def bootstrap_of(results: Results, key: str | None = None, times: float = 1.0) -> Bootstrap | None:
    """The bootstrap of a metric; None for one without sentence statistics.

    Args:
        results: the finished cells.
        key: of the metric; the one that ranks if None.
        times: what its scores are multiplied by.
    """
    lang = next(iter(results.records)).lang
    context = MetricContext(object(), "any", lang.partition("-")[2])
    try:
        metric = make_metric(key or results.metric, context)
    except MTLotteryError as error:
        name = key or results.metric
        if any(name in kept for kept in results.sentences.values()):
            raise RecordError(
                f"{results.out}: the metric '{name}', of a plugin, is not here, and intervals and "
                "comparisons are its work: --user-dir FOLDER imports a folder of plugins."
            ) from error
        return None  # it has none
    if not can_be_resampled(metric):
        return None
    own = metric.corpus_score
    return Bootstrap(own if times == 1 else lambda totals: times * own(totals))


class Builder:
    """What a leaderboard's blocks, rows and cells hold, by one metric.

    Args:
        results: the finished cells.
        metric: its key; the one that ranks if None.
    """

    def __init__(self, results: Results, metric: str | None = None) -> None:
        self.results = results
        self.metric = metric or results.metric
        cells = [*results.records, *results.failures]
        self.langs = _known_first(results.asked.get("langs", []), [c.lang for c in cells])
        self.seeds = sorted({*results.asked.get("seeds", []), *(c.seed for c in cells)})
        first = next(iter(results.records.values()))
        self.entry = first.scores[self.metric]
        self.first = first
        self.times = float(self.entry.get("shown_times", 1))  # COMET's scores are shown × 100
        self.bootstrap = bootstrap_of(results, self.metric, self.times)
        self._resampled: dict[tuple[str, str, str, str], ResampledScore | None] = {}

    @property
    def column(self) -> str:
        """The heading that the metric's scores are shown under."""
        times = "" if self.times == 1 else f" ×{self.times:g}"
        return f"{self.entry.get('column', self.metric)}{times}"

    def board(self, created: str | None) -> dict[str, Any]:
        """The whole leaderboard, as :func:`build` returns it."""
        command = self.results.command
        blocks = {name: self.block(name) for name in BLOCKS if self.recipes(name)}
        keys, left_out = common_metrics(self.results)
        by_metric = {key: Builder(self.results, key) for key in keys}
        for name, block in blocks.items():
            more = {key: by.block(name)["rows"] for key, by in list(by_metric.items())[1:]}
            block["metrics"] = metric_table({keys[0]: block["rows"]} | more if keys else {})
        return {
            "schema": SCHEMA,
            "title": f"mt-lottery: {self.first.model.name}, {', '.join(self.langs)}",
            "created": created or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": command,
            "metric": notes.metric_of(self.results) | {"column": self.column},
            "languages": self.langs,
            "seeds": self.seeds,
            "blocks": list(blocks.values()),
            "metrics": [
                {"key": k, "column": b.column, "signature": b.entry["signature"]}
                for k, b in by_metric.items()
            ],
            "notes": [
                *notes.reading(self.results, self.first, len(self.seeds)),
                NOTE,
                *left_out,
                *notes.lacking_sentences(self.results, self.metric),
                *notes.several_texts(self.results),
                *notes.fewer_seeds(self.results, self.seeds),
            ],
            "provenance": notes.provenance(self.results, self.langs, self.seeds, command),
            "contamination": notes.overlaps(self.results),
        }

    # -- rows

    def recipes(self, block: str) -> list[str]:
        """Recipes of a block in the leaderboard's order, those without a finished cell included."""
        found = [c.recipe for c in [*self.results.records, *self.results.failures]
                 if c.block == block]  # fmt: skip
        if block == "runs":
            found += self.results.asked.get("methods", [])
        elif found:
            found.append("none")  # the baseline of both blocks
        return in_order(found)

    def cells(self, block: str, recipe: str, lang: str) -> list[Cell]:
        """Finished cells, one a seed; the original model's serve in both blocks."""
        block = "runs" if recipe == "none" else block
        return [
            cell
            for seed in self.seeds
            if (cell := Cell(block, recipe, lang, seed)) in self.results.records
        ]

    def block(self, name: str) -> dict[str, Any]:
        """One block: its rows, each judged against the best of the block."""
        recipes = self.recipes(name)
        rows = [self.row(name, recipe) for recipe in recipes]
        done = [row["method"] for row in rows if row["average"] is not None]
        whole = {recipe: self.resampled(name, recipe, "raw") for recipe in done}
        known = {recipe: scores for recipe, scores in whole.items() if scores is not None}
        verdicts = compare_with_best(known) if len(known) == len(whole) else {}
        for row in rows:
            verdict = verdicts.get(row["method"])
            row["mark"] = None if verdict is None else verdict.mark
            row["pvalue"] = None if verdict is None else verdict.pvalue
            row["pvalue_is_least"] = verdict is not None and verdict.least
            row["difference"] = None if verdict is None else verdict.difference
        trials = self.results.settings.get("tune") if name == "tuned" else None
        explanation = EXPLANATIONS[name].format(trials=plural(trials or 0, "setting"))
        if name == "runs" and self.results.settings.get("overrides", {}).get("preset") == "paper":
            explanation = "Each recipe with the paper's settings (those the paper gives)."
        return {
            "name": self.block_name(name),
            "trials": trials,
            "explanation": explanation,
            "rows": rows,
            "chosen": notes.chosen_settings(rows),
        }

    def block_name(self, name: str) -> str:
        """What a block is called: *paper settings*, *recipe settings* or *equal tuning budget*."""
        paper = self.results.settings.get("overrides", {}).get("preset") == "paper"
        return "paper settings" if name == "runs" and paper else BLOCKS[name]

    def row(self, block: str, recipe: str) -> dict[str, Any]:
        """One recipe: its cells (one a language) and their average."""
        own = {lang: self.cell(block, recipe, lang) for lang in self.langs}
        home = "runs" if recipe == "none" else block
        records = [
            record
            for cell, record in self.results.records.items()
            if (cell.block, cell.recipe) == (home, recipe)
        ]
        tickets = [r.tickets.count for r in records if r.tickets is not None]
        return {
            "method": recipe,
            "label": label(recipe),
            "what": summary(recipe),
            # where trials chose another size for each language, the largest
            "trainable_parameters": max((r.trainable_parameters for r in records), default=None),
            "rows": max(tickets, default=None),
            "cells": own,
            "average": self.average(block, recipe, own),
        }

    def cell(self, block: str, recipe: str, lang: str) -> dict[str, Any]:
        """One recipe on one language, over its seeds; ``state`` is done, failed or missing."""
        done = self.cells(block, recipe, lang)
        failed = [
            (cell, reason)
            for cell, reason in self.results.failures.items()
            if (cell.block, cell.recipe, cell.lang) == (block, recipe, lang)
        ]
        if failed:
            return {"state": "failed", "reason": failed[0][1].partition("\n")[0]}
        if not done:
            return {"state": "missing", "reason": None}
        records = [self.results.records[cell] for cell in done]
        numbers: dict[str, Any] = {
            "state": "done",
            "reason": None,
            "seeds": [cell.seed for cell in done],
            "raw": self.interval(block, recipe, [lang], "raw", records),
            "first_line": self.interval(block, recipe, [lang], "first_line", records),
            **_means(records),
        }
        numbers["metrics"] = {
            key: {
                which: mean([r.scores[key][which]["score"] for r in records])
                for which in ("raw", "first_line")
            }
            for key in records[0].scores
            if all(key in r.scores for r in records)
        }
        if block == "tuned" and recipe != "none":
            numbers["chosen"] = [r.tuning["chosen"] if r.tuning else None for r in records]
        base = [self.results.records[c] for c in self.cells("runs", "none", lang)]
        numbers["gain"] = _gain(numbers, base, self) if base and recipe != "none" else None
        return numbers

    def average(
        self, block: str, recipe: str, own: Mapping[str, dict[str, Any]]
    ) -> dict[str, Any] | None:
        """Means over the languages; None unless every one of them is done."""
        cells = list(own.values())
        if not all(cell["state"] == "done" for cell in cells):
            return None
        records = [
            self.results.records[c] for lang in self.langs for c in self.cells(block, recipe, lang)
        ]
        gains = [cell["gain"] for cell in cells]
        averaged: dict[str, Any] = {
            "raw": self.interval(block, recipe, self.langs, "raw", records),
            "first_line": self.interval(block, recipe, self.langs, "first_line", records),
            "gain": None,
        }
        if all(gains):
            averaged["gain"] = {k: mean([g[k] for g in gains]) for k in gains[0]}
        for key in (*SHARES, *COSTS, "seconds"):
            averaged[key] = mean([cell[key] for cell in cells])
        return averaged

    def score(self, record: Record, which: str) -> float:
        """A run's ``raw`` or ``first_line`` score as it is shown."""
        return self.times * float(record.scores[self.metric][which]["score"])

    # -- spread

    def resampled(
        self, block: str, recipe: str, which: str, langs: Sequence[str] | None = None
    ) -> ResampledScore | None:
        """A recipe's average over languages, resampled; None where a run has no statistics."""
        parts = [self._of_language(block, recipe, which, lang) for lang in langs or self.langs]
        known = [part for part in parts if part is not None]
        return average(known) if known and len(known) == len(parts) else None

    def _of_language(self, block: str, recipe: str, which: str, lang: str) -> ResampledScore | None:
        key = (block, recipe, which, lang)
        if key not in self._resampled:
            cells = self.cells(block, recipe, lang)
            parts = [self.results.statistics(cell, self.metric, which) for cell in cells]
            self._resampled[key] = resampled(self.bootstrap, parts, recipe)
        return self._resampled[key]

    def interval(
        self, block: str, recipe: str, langs: Sequence[str], which: str, records: Sequence[Record]
    ) -> dict[str, Any]:
        """Score, standard deviation over seeds and bootstrap interval, over some languages."""
        found = self.resampled(block, recipe, which, langs)
        if found is not None:
            return dataclasses.asdict(found.interval) | {"ci95": list(found.ci95)}
        interval = None
        if len(records) == 1:
            bounds = records[0].scores[self.metric][which]["ci95"]
            interval = [self.times * float(bound) for bound in bounds]
        score = mean([self.score(record, which) for record in records])
        return {"score": score, "sd": None, "ci95": interval}


def _known_first(asked: Sequence[str], found: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*asked, *sorted(found)]))


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where one is not known."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if len(known) == len(values) and known else None


def _means(records: Sequence[Record]) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        key: mean([getattr(r.generation, key) for r in records]) for key in SHARES
    }
    numbers |= {key: mean([getattr(r.cost, key) for r in records]) for key in COSTS}
    parts = [numbers[k] for k in ("probe_seconds", "train_seconds", "decode_seconds")]
    numbers["seconds"] = sum(parts)
    return numbers


def _gain(numbers: dict[str, Any], base: Sequence[Record], by: Builder) -> dict[str, float]:
    none = {
        which: float(np.mean([by.score(r, which) for r in base])) for which in ("raw", "first_line")
    }
    raw = numbers["raw"]["score"] - none["raw"]
    translate = numbers["first_line"]["score"] - none["first_line"]
    return {"raw": raw, "stop": raw - translate, "translate": translate}
