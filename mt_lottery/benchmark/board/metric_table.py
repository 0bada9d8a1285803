"""Each metric of a benchmark in the same way: averages, intervals, the test against the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mt_lottery.benchmark.board.collect import Results
from mt_lottery.errors import plural

Rows = list[dict[str, Any]]


def common_metrics(results: Results) -> tuple[list[str], list[str]]:
    """Keys of the metrics that every finished cell has under one signature a pair of languages.

    Returns:
        the keys, the one that ranks first; and a sentence for each that is left out.
    """
    records = results.records
    keys = list(dict.fromkeys(key for record in records.values() for key in record.scores))
    kept, said = [], []
    for key in keys:
        lacking = sum(key not in record.scores for record in records.values())
        signatures: dict[str, set[str]] = {}
        for cell, record in records.items():
            if key in record.scores:
                own = signatures.setdefault(cell.lang, set())
                own.add(str(record.scores[key]["signature"]))
        if lacking:
            said.append(
                f"The metric {key} is left out: {plural(lacking, 'finished cell')} "
                f"{'does' if lacking == 1 else 'do'} not have it."
            )
        elif any(len(own) > 1 for own in signatures.values()):
            named = sorted({s for own in signatures.values() for s in own})
            said.append(f"The metric {key} is left out, its signatures differ: {', '.join(named)}.")
        else:
            kept.append(key)
    return kept, said


def metric_table(rows_by: Mapping[str, Rows]) -> list[dict[str, Any]]:
    """Every metric's numbers for the recipes of one block.

    Args:
        rows_by: key of the metric → the block's rows by it.

    Returns:
        for each metric ``key`` and ``rows``: ``method``, ``label``, ``average`` (``raw``,
        ``first_line``, each with score and interval, or None), ``difference`` to the best
        average, ``pvalue`` (paired bootstrap, Holm-corrected), ``pvalue_is_least`` (it is at
        most that) and ``mark``.
    """
    kept = ("method", "label", "difference", "mark", "pvalue", "pvalue_is_least")

    def short(row: dict[str, Any]) -> dict[str, Any]:
        average = row["average"]
        both = average and {k: average[k] for k in ("raw", "first_line")}
        return {**{k: row[k] for k in kept}, "average": both}

    return [{"key": key, "rows": [*map(short, rows)]} for key, rows in rows_by.items()]


def headings(board: dict[str, Any]) -> dict[str, str]:
    """Column of each metric by its key."""
    return {each["key"]: each["column"] for each in board.get("metrics") or []}


def pvalue(row: dict[str, Any]) -> str:
    """A recipe's p against the best; the best is named, since it has none."""
    if row["pvalue"] is None:
        return "—"
    if row["difference"] == 0 and row["pvalue"] == 1:
        return "best"
    if row["pvalue"] < 0.001:
        return "<0.001"
    return ("≤" if row.get("pvalue_is_least") else "") + f"{row['pvalue']:.3f}"


NOTE = (
    "p: of no difference to the best average by that metric, raw scores; paired bootstrap over "
    "sentences (and seeds, where there are several), Holm-corrected over the recipes; ≤: the least "
    "that so many resamples can show. With one seed it says nothing of how a recipe varies from "
    "seed to seed."
)
