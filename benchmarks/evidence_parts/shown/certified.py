"""How many of the certified predictions change: Theorem 2 allows none."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from evidence_parts.questions import Question
from evidence_parts.shown.scores import Scores
from evidence_parts.shown.tables import Lines, span, table

#: How a certificate's model has the ticket's rows, in words.
ROWS_ARE = {"transfer": "copied", "partial": "**tuned**",
            "permuted": "copied, all other rows in random order"}  # fmt: skip


def certificates(question: Question, scores: Scores) -> Lines:
    """How many certified predictions change."""
    lines = []
    for (arm, lang, seed), row in sorted(scores.results.rows.items()):
        if arm != "certificate":
            continue
        for check in row["certify"]["checks"]:
            rate = "—"
            if check["rate"] is not None and check["ci95"]:
                low, high = (100 * bound for bound in check["ci95"])
                rate = f"{100 * check['rate']:.1f}% [{low:.1f}, {high:.1f}]"
            others = check["others_rate"]
            rows_are = ROWS_ARE.get(check["model"], check["model"])
            lines.append([f"en→{lang}", str(seed), f"{check['alpha']:.2g}", rows_are,
                          f"{check['rows']:,}", f"{check['certified']:,}", rate,
                          "—" if others is None else f"{100 * others:.1f}%"])  # fmt: skip
    headings = ["", "seed", "α", "rows are", "rows", "certified", "changed", "of the others"]
    note = "*changed*: of the certified predictions, 95% clustered by sentence."
    return [*table(headings, lines, 1), note, ""] if lines else []


def _levels(scores: Scores, lang: str) -> list[list[dict[str, Any]]]:
    """A level of α and kind of rows each: its checks, one a seed; as one seed lists them."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for seed in scores.setting.seeds:
        row = scores.results.rows.get(("certificate", lang, seed))
        counts: dict[str, itertools.count[int]] = {}
        for check in row["certify"]["checks"] if row else ():
            nth = next(counts.setdefault(check["model"], itertools.count()))
            if check["rate"] is not None:
                found.setdefault((check["model"], nth), []).append(check)
    return [*found.values()]


def certificates_by_language(scores: Scores) -> Lines:
    """The same over seeds: means, and the least and the most of a seed."""
    lines = []
    for lang in scores.setting.langs:
        for checks in _levels(scores, lang):
            rates = [100 * check["rate"] for check in checks]
            others = [100 * c["others_rate"] for c in checks if c["others_rate"] is not None]
            between = f" ({min(rates):.1f} to {max(rates):.1f})" if len(rates) > 1 else ""
            lines.append([
                f"en→{lang}", ROWS_ARE.get(checks[0]["model"], checks[0]["model"]),
                span(check["rows"] for check in checks), str(len(checks)),
                span(check["certified"] for check in checks),
                f"{np.mean(rates):.1f}%{between}", f"{np.mean(others):.1f}%" if others else "—",
            ])  # fmt: skip
    headings = ["", "rows are", "rows", "seeds", "certified", "of them changed", "of the others"]
    return table(headings, lines, 2) if lines else []
