"""Each metric of a benchmark in the same way: averages, intervals, the test against the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mt_lottery.benchmark.board.collect import Results

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
            said.append(f"The metric {key} is left out: {lacking} finished cells do not have it.")
        elif any(len(own) > 1 for own in signatures.values()):
            named = sorted({s for own in signatures.values() for s in own})
            said.append(f"The metric {key} is left out, its signatures differ: {', '.join(named)}.")
        else:
            kept.append(key)
    return kept, said


def every_metric(
    keys: list[str], rows: Rows, rows_of: Callable[[str], Rows]
) -> list[dict[str, Any]]:
    """Every metric's numbers for the recipes of one block.

    Args:
        keys: from :func:`common_metrics`.
        rows: the block's rows by the first of them.
        rows_of: the block's rows by another metric.

    Returns:
        for each metric ``key`` and ``rows``: ``recipe``, ``label``, ``average`` (``raw``,
        ``first_line``, each with score and interval, or None), ``difference`` to the best
        average, ``pvalue`` (paired bootstrap, Holm-corrected), ``pvalue_is_least`` (it is at
        most that) and ``mark``.
    """
    made = []
    for place, key in enumerate(keys):
        shown = []
        for row in rows if place == 0 else rows_of(key):
            average = row["average"]
            shown.append(
                {
                    **{k: row[k] for k in ("method", "label", "difference", "mark")},
                    **{k: row[k] for k in ("pvalue", "pvalue_is_least")},
                    "average": average and {k: average[k] for k in ("raw", "first_line")},
                }
            )
        made.append({"key": key, "rows": shown})
    return made


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
