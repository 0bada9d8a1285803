"""A sweep as JSON, CSV and Markdown: numbers and provenance, no text of the test set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mt_lottery.benchmark.board import notes
from mt_lottery.benchmark.board.report import Written, json_text
from mt_lottery.benchmark.board.tables import bullets, closing
from mt_lottery.benchmark.recipes import label
from mt_lottery.errors import plural
from mt_lottery.paper.sweep.curve import Point
from mt_lottery.paper.sweep.grid import Series
from mt_lottery.paper.sweep.sweep import Curve, Curves
from mt_lottery.report.numbers import GAP, number, percent, shown_alpha, spread
from mt_lottery.report.plain import csv_records, markdown_text
from mt_lottery.report.table import Column, Table
from mt_lottery.scoring.metric import WHICH
from mt_lottery.scoring.significance import Interval

NAME = "sweep"
SCHEMA = 1

_HEADS = (
    *("language", "method", "selector", "rows", "state", "reason", "seeds"),
    *("trainable_parameters", "alpha"),
    *("raw", "raw_sd", "raw_low", "raw_high"),
    *("first_line", "first_line_sd", "first_line_low", "first_line_high"),
    *("stopped", "length_ratio", "dev", "dev_sd", "best_on_dev", "seconds"),
    *("embed_difference", "embed_low", "embed_high", "embed_pvalue"),
)


def label_of(series: Series, curves: Curves) -> str:
    """What tables and figures call a series; the selector is named where there are several."""
    measures = {s.selector for s in curves.sweep.series if s.recipe == series.recipe}
    return label(series.recipe) + (f", by {series.selector}" if len(measures) > 1 else "")


def content(curves: Curves, command: str) -> dict[str, Any]:
    """Everything that was found, JSON-like.

    Args:
        curves: of :func:`mt_lottery.paper.sweep.sweep.execute`.
        command: how it was started.
    """
    results, bench = curves.results, curves.sweep.bench
    return {
        "schema": SCHEMA,
        "command": command,
        "metric": notes.metric_of(results),
        "dev": _dev(curves),
        "sizes": curves.sweep.sizes,
        "seeds": bench.seeds,
        "baselines": {
            lang: {name: dataclasses.asdict(point) for name, point in lines.items()}
            for lang, lines in curves.baselines.items()
        },
        "curves": [
            {
                "language": curve.lang,
                "method": curve.series.recipe,
                "selector": curve.series.selector or None,
                "best_on_dev": curve.chosen,
                "enough": curve.enough,
                "points": [dataclasses.asdict(point) for point in curve.points],
            }
            for curve in curves.curves
        ],
        "notes": _notes(curves),
        "provenance": notes.provenance(results, bench.langs, bench.seeds, command),
        "contamination": notes.overlaps(results),
    }


def _dev(curves: Curves) -> dict[str, Any] | None:
    tunings = [r.tuning for r in curves.results.records.values() if r.tuning is not None]
    return tunings[0].get("dev") if tunings else None


def _notes(curves: Curves) -> list[str]:
    first = next(iter(curves.results.records.values()))
    several = len(curves.sweep.bench.seeds) > 1
    said = [
        "Raw: the whole output, up to end-of-sequence or "
        f"{plural(first.generation.max_new_tokens, 'token')}; first line: the output up to its "
        "first line break. Brackets: 95% bootstrap interval over "
        f"{plural(first.data.test.pairs, 'sentence')}{' and seeds' if several else ''}.",
        "Rows: of ks_freeze the ones left as they are, while all others are tuned; of all other "
        "recipes the ones that are tuned (or copied).",
        "Embedding tuning is the probe itself: its curve's end for partial transfer.",
        "α: nominal p of the last row; it ranks rows, it controls no error rate.",
    ]
    if curves.sweep.dev:
        said.append(
            "Best on dev: the size with the highest raw score on the dev set; the test score "
            "beside it was not looked at for that choice."
        )
    said.append(
        "Enough: the smallest size whose test score is not significantly below the reference's "
        "(paired bootstrap, 5%, two-sided, not corrected for the number of sizes), by raw score "
        "/ by first line; best: the size with the best test score of the same curve. That is no "
        "proof of equality: the fewer sentences, the larger a difference may be and still pass."
    )
    if not several:
        said.append("One seed: how much a point varies from seed to seed is not known.")
    if curves.results.metric == "bleu_subword":
        column = first.scores[curves.results.metric].get("column")
        said.append(f"{column} is BLEU over the model's own subwords, not spBLEU.")
    if any(p.state == "failed" for c in curves.curves for p in c.points):
        said.append("FAILED: the run did not finish; it has no score and no point in the figure.")
    return said


def write_reports(curves: Curves, command: str) -> Written:
    """Write ``sweep.json``, ``sweep.csv`` and ``sweep.md`` into the sweep's folder.

    Returns:
        what ``sweep.json`` holds, the files, and what kept any of them from being made: none
        stops another.
    """
    found = content(curves, command)
    written = Written(found)
    stem = curves.sweep.bench.out / NAME
    written.file(stem.with_suffix(".md"), lambda: markdown(curves, found))
    written.file(stem.with_suffix(".csv"), lambda: comma_separated(curves))
    written.file(stem.with_suffix(".json"), lambda: json_text(found))
    return written


Line = tuple[Series, Point, Curve | None]


def lines(curves: Curves, lang: str) -> Iterator[Line]:
    """Every point of a pair, in the order of the tables: baselines, then curve by curve."""
    for name, point in curves.baselines[lang].items():
        yield Series(name), point, None
    for curve in curves.curves:
        if curve.lang == lang:
            for point in curve.points:
                yield curve.series, point, curve


def _rows(size: int | None) -> str:
    return "" if size is None else f", {plural(size, 'row')}"


def comma_separated(curves: Curves) -> str:
    """A line a point, every number unrounded."""
    rows: list[dict[str, Any]] = []
    for lang in curves.sweep.bench.langs:
        for series, point, curve in lines(curves, lang):
            row: dict[str, Any] = {
                "language": lang,
                "method": series.recipe,
                "selector": series.selector,
                "rows": point.size,
                "state": point.state,
                "reason": point.reason,
                "seeds": " ".join(map(str, point.seeds)),
            }
            for key in ("trainable_parameters", "alpha", "stopped", "length_ratio", "seconds"):
                row[key] = getattr(point, key)
            for which, score in point.scores.items():
                row |= {which: score.score, f"{which}_sd": score.sd}
                row |= {f"{which}_low": score.ci95[0], f"{which}_high": score.ci95[1]}
            row["dev"] = point.dev_score
            row["dev_sd"] = float(np.std(point.dev, ddof=1)) if len(point.dev) > 1 else None
            if curve is not None:
                row["best_on_dev"] = "true" if point.size == curve.chosen else "false"
            found = point.against.get("embed", {}).get("raw")
            if found is not None:
                row |= {"embed_difference": found.difference, "embed_pvalue": found.pvalue}
                row |= {"embed_low": found.ci95[0], "embed_high": found.ci95[1]}
            rows.append(row)
    return csv_records(_HEADS, rows)


def _score(interval: Interval | None) -> str:
    return GAP if interval is None else spread(interval.score, interval.ci95, interval.sd)


def points_table(curves: Curves, lang: str, title: str = "") -> Table:
    """The points of a pair, as Markdown and the terminal show them."""

    def done(head: str, show: Callable[[Point, Curve | None], str], failed: str = GAP) -> Column:
        def cell(line: Line) -> str:
            _, point, curve = line
            if point.state == "done":
                return show(point, curve)
            return failed if point.state == "failed" else GAP

        return Column(head, cell)

    def chosen(point: Point, curve: Curve | None) -> str:
        best = curve is not None and point.size is not None and point.size == curve.chosen
        return number(point.dev_score) + (" •" if best else "")

    columns = [
        Column("recipe", lambda line: label_of(line[0], curves)),
        Column("rows", lambda line: "" if line[1].size is None else f"{line[1].size:,}"),
        done("trained", lambda point, _: f"{point.trainable_parameters:,}"),
        done("α", lambda point, _: GAP if point.alpha is None else shown_alpha(point.alpha)),
        done("raw", lambda point, _: _score(point.scores["raw"]), "FAILED"),
        done("first line", lambda point, _: _score(point.scores["first_line"])),
        done("stopped", lambda point, _: percent(point.stopped)),
        done("dev", chosen),
    ]
    return Table(columns, list(lines(curves, lang)), title)


def verdict_table(curves: Curves, lang: str, title: str = "") -> Table:
    """The size of each curve that is chosen on dev, its score, and how many rows are enough."""

    def chosen(head: str, show: Callable[[Point], str]) -> Column:
        def cell(curve: Curve) -> str:
            best = (p for p in curve.points if p.size is not None and p.size == curve.chosen)
            point = next(best, None)
            return GAP if point is None else show(point)

        return Column(head, cell)

    def enough(name: str) -> Column:
        def cell(curve: Curve) -> str:
            known = curve.enough.get(name, {})
            return " / ".join(_size(known[w]) if w in known else GAP for w in WHICH)

        return Column(f"enough for {name}", cell)

    columns = [
        Column("recipe", lambda curve: label_of(curve.series, curves)),
        chosen("best on dev", lambda point: f"{point.size:,}"),
        chosen("raw", lambda point: _score(point.scores["raw"])),
        chosen("first line", lambda point: _score(point.scores["first_line"])),
        # two numbers of rows: by raw score, by first line
        enough("embed"),
        enough("best"),
    ]
    return Table(columns, [curve for curve in curves.curves if curve.lang == lang], title)


def _size(size: int | None) -> str:
    return "none" if size is None else f"{size:,}"


def markdown(curves: Curves, found: dict[str, Any]) -> str:
    """Tables of every pair, what failed, how to read them, and where the numbers come from."""
    column = found["metric"]["column"]
    first = next(iter(curves.results.records.values()))
    parts = [f"# How many rows? {markdown_text(first.model.name)}", "", markdown_text(column)]
    for lang in curves.sweep.bench.langs:
        parts += ["", f"## {lang}", "", points_table(curves, lang).markdown()]
        parts += ["", verdict_table(curves, lang).markdown()]
        failed = [
            f"{label_of(series, curves)}{_rows(point.size)}: {point.reason}"
            for series, point, _ in lines(curves, lang)
            if point.state == "failed"
        ]
        if failed:
            parts += ["", "FAILED:", "", *bullets(failed)]
    return "\n".join([*parts, *closing(found)]) + "\n"


def figure_stem(out: Path, lang: str, langs: list[str]) -> Path:
    """Where a pair's figure goes: ``sweep.png``, or ``sweep_en-es.png`` where there are several."""
    return out / (NAME if len(langs) == 1 else f"{NAME}_{lang}")
