"""How far runs of one arm differ: with another seed, on another machine, for another prompt."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from evidence_parts.results import Row
from evidence_parts.scores import Scores
from evidence_parts.tables import Lines, table
from mt_lottery.scoring.significance import percentile_interval

#: What sets two tickets apart: the places of the keys in :func:`overlaps`.
APART = ("the machine", "the prompt", "the language", "the seed")
#: What chooses rows → its arms: one search, under as many prompts.
_SEARCHES = {
    "the KS test": ("ks_lottery", "ticket-alpaca", "ticket-labels"),
    "one backward pass": ("gradient",),
}


def _device(row: Row) -> str:
    return str((row.get("environment") or {}).get("device"))


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _rms(values: Iterable[float]) -> str:
    known = [*values]
    return f"{np.sqrt(np.mean(np.square(known))):.2f}" if known else "—"


def _shared(pairs: Iterable[tuple[Row, Row]]) -> str:
    counts = [len({*a["ticket"]} & {*b["ticket"]}) for a, b in pairs if a["ticket"]]
    return f"{np.mean(counts):.1f} ({min(counts)} to {max(counts)})" if counts else "—"


def machines(scores: Scores) -> Lines:
    """Cells that were run on another machine too; the difference of two seeds beside it."""
    metric = scores.metric()
    here = scores.results.rows
    twice: dict[str, list[tuple[Row, Row]]] = {}
    for row in scores.results.elsewhere:
        own = here.get((row["arm"], row["lang"], row["seed"]))
        if own and "scores" in own and own["settings"] == row["settings"]:
            twice.setdefault(row["arm"], []).append((row, own))
    if metric is None or not twice:
        return []

    def raw(row: Row) -> float:
        return float(row["scores"][metric]["raw"]["score"])

    lines = []
    for arm, pairs in [*twice.items(), ("all", [p for found in twice.values() for p in found])]:
        seeds = [
            (one, other)
            for name in (twice if arm == "all" else [arm])
            for lang in scores.setting.langs
            for one, other in itertools.combinations(scores.rows(name, lang), 2)
            if _device(one) == _device(other)
        ]
        gaps = [raw(own) - raw(other) for other, own in pairs]
        named = arm != "all"  # rows of tickets of several kinds are no one number
        lines.append([
            arm, str(len(pairs)), _signed(float(np.mean(gaps))), _rms(gaps),
            _rms(raw(one) - raw(other) for one, other in seeds),
            _shared(pairs) if named else "—", _shared(seeds) if named else "—",
        ])  # fmt: skip
    there, own = (
        " and ".join(sorted({_device(pair[i]) for found in twice.values() for pair in found}))
        for i in (0, 1)
    )
    headings = ["", "cells on both", "mean difference", "RMS, another machine", "RMS, another seed",
                "rows shared, another machine", "another seed"]  # fmt: skip
    note = (
        f"{scores.column(metric)}, raw: {own} less {there}, the same settings and seeds; "
        "two seeds on one machine. RMS: root mean square of the differences."
    )
    return [*table(headings, lines), note, ""]


def overlaps(scores: Scores) -> Lines:
    """Rows that two tickets share, by the one thing that sets their runs apart.

    Intervals are resampled over languages (pairs of languages, where these differ).
    """
    rows = [*scores.results.rows.values(), *scores.results.elsewhere]
    lines = []
    for search, arms in _SEARCHES.items():
        tickets = {
            (_device(row), row["arm"], row["lang"], row["seed"]): {*row["ticket"]}
            for row in rows
            if row["arm"] in arms and row.get("ticket")
        }
        kinds: dict[str, dict[tuple[str, ...], list[int]]] = {kind: {} for kind in APART}
        for (one, mine), (other, theirs) in itertools.combinations(sorted(tickets.items()), 2):
            apart = [a != b for a, b in zip(one, other, strict=True)]
            if sum(apart) == 1:
                langs = tuple(sorted({one[2], other[2]}))
                shared = kinds[APART[apart.index(True)]].setdefault(langs, [])
                shared.append(len(mine & theirs))
        lines += [[search, f"{kind} alone", *_spread(groups)] for kind, groups in kinds.items()
                  if groups]  # fmt: skip
    headings = ["rows chosen by", "two tickets of 18 differ by", "pairs", "rows shared", "95%",
                "range"]  # fmt: skip
    note = "95%: over languages (pairs of languages, where these differ)."
    return [*table(headings, lines, 2), note, ""] if lines else []


def _spread(groups: dict[tuple[str, ...], list[int]]) -> list[str]:
    """Number of pairs, mean over the groups, its interval, least and most."""
    each = [np.mean(shared) for shared in groups.values()]
    bounds = "—"
    if len(each) > 1:
        drawn = np.random.default_rng(0).choice(each, (1000, len(each))).mean(axis=1)
        bounds = "[{:.1f}, {:.1f}]".format(*percentile_interval(drawn))
    every = [n for shared in groups.values() for n in shared]
    return [str(len(every)), f"{np.mean(each):.1f}", bounds, f"{min(every)} to {max(every)}"]
