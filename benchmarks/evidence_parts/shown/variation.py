"""How far runs of one arm differ: once more, by seed, on another machine, for another prompt."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence_parts.results import Row, key_of
from evidence_parts.shown.scores import Scores
from evidence_parts.shown.tables import Lines, table
from mt_lottery.scoring.significance import percentile_interval

#: What sets two tickets apart: the places of the keys in :func:`shared`; or nothing that is known.
APART = ("the machine", "the prompt", "the language", "the seed")
AGAIN = "nothing"
#: What chooses rows → its arms: one search, under as many prompts.
_SEARCHES = {
    "the KS test": ("ks_lottery", "ticket-alpaca", "ticket-labels"),
    "the KS test, `plain` alone": ("ks_lottery",),
    "one backward pass": ("gradient",),
}
#: Of a search that is a part of another, what is shown where that has more pairs.
_PARTS = {"the KS test, `plain` alone": ("the KS test", APART[2:])}


def _device(row: Row) -> str:
    return str((row.get("environment") or {}).get("device"))


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _rms(values: Iterable[float]) -> str:
    known = [*values]
    return f"{np.sqrt(np.mean(np.square(known))):.2f}" if known else "—"


def _twice(scores: Scores) -> list[tuple[Row, Row]]:
    """Cells that were run once more, each with the cell of the tables; with the same settings."""
    here = scores.results.rows
    known = [(row, here.get(key_of(row))) for row in scores.results.elsewhere]
    return [(row, own) for row, own in known if own and own["settings"] == row["settings"]]


def machines(scores: Scores) -> Lines:
    """Cells that were run on another machine too, or again; the difference of two seeds beside."""
    metric = scores.metric()
    known = [
        (row, own)
        for row, own in _twice(scores)
        if "scores" in own and not row["arm"].startswith("ticket-")  # of a few sentences
    ]
    there = [pair for pair in known if _device(pair[0]) != _device(pair[1])]
    if metric is None or not known:
        return []

    def raw(row: Row) -> float:
        return float(row["scores"][metric]["raw"]["score"])

    def line(title: str, pairs: list[tuple[Row, Row]]) -> list[str]:
        seeds = [
            (one, other)
            for name in dict.fromkeys(row["arm"] for row, _ in pairs)
            for lang in scores.setting.langs
            for one, other in itertools.combinations(scores.rows(name, lang), 2)
            if _device(one) == _device(other)
        ]
        gaps = [raw(own) - raw(other) for other, own in pairs]
        return [title, str(len(pairs)), _signed(float(np.mean(gaps))), _rms(gaps),
                _rms(raw(one) - raw(other) for one, other in seeds)]  # fmt: skip

    arms = dict.fromkeys(row["arm"] for row, _ in there)
    lines = [line(arm, [pair for pair in there if pair[0]["arm"] == arm]) for arm in arms]
    lines += [line("all", there)] if there else []
    again = [pair for pair in known if pair not in there]
    for arm in dict.fromkeys(row["arm"] for row, _ in again):
        own = [pair for pair in again if pair[0]["arm"] == arm]
        lines.append(line(f"{arm}, once more on the same machine", own))
    other, mine = (" and ".join(sorted({_device(pair[i]) for pair in there})) for i in (0, 1))
    headings = ["", "cells twice", "mean difference", "RMS, other run", "RMS, another seed"]
    note = (
        f"{scores.column(metric)}, raw: {mine} less {other}, the same settings and seeds; "
        "two seeds on one machine. RMS: root mean square of the differences."
    )
    return [*table(headings, lines), note, ""]


@dataclass(frozen=True)
class Shared:
    """How many of 18 rows two tickets have in common, whose runs differ in one thing.

    Attributes:
        search: what chooses the rows.
        apart: what sets the runs apart, one of :data:`APART`, or :data:`AGAIN`.
        groups: languages of a pair → the counts of its pairs of tickets.
    """

    search: str
    apart: str
    groups: dict[tuple[str, ...], list[int]]

    @property
    def each(self) -> list[float]:
        """The mean of each group."""
        return [float(np.mean(shared)) for shared in self.groups.values()]

    @property
    def every(self) -> list[int]:
        """Each pair's count."""
        return [n for shared in self.groups.values() for n in shared]

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Of the mean, over languages (pairs of languages, where these differ); None of two."""
        if len(self.groups) < 3:
            return None
        drawn = np.random.default_rng(0).choice(self.each, (1000, len(self.each))).mean(axis=1)
        return percentile_interval(drawn)


def shared(scores: Scores) -> list[Shared]:
    """Of each search and each thing that can set two runs apart, where there are such runs.

    A cell that was run twice, on another machine or on the same, is compared with itself alone,
    so that no pair of cells counts twice.
    """
    found = []
    for search, arms in _SEARCHES.items():
        here = sorted(
            ((_device(row), *key_of(row)), {*row["ticket"]})
            for row in scores.results.rows.values()
            if row["arm"] in arms and row.get("ticket")
        )
        kinds: dict[str, dict[tuple[str, ...], list[int]]]
        kinds = {kind: {} for kind in (AGAIN, *APART)}
        for (one, mine), (other, theirs) in itertools.combinations(here, 2):
            differs = [a != b for a, b in zip(one, other, strict=True)]
            if sum(differs) == 1:
                group = kinds[APART[differs.index(True)]]
                group.setdefault(tuple(sorted({one[2], other[2]})), []).append(len(mine & theirs))
        for row, own in _twice(scores):
            if row["arm"] in arms and row.get("ticket"):
                kind = AGAIN if _device(row) == _device(own) else APART[0]
                both = {*row["ticket"]} & {*own["ticket"]}
                kinds[kind].setdefault((row["lang"],), []).append(len(both))
        own = [Shared(search, kind, groups) for kind, groups in kinds.items() if groups]
        if search in _PARTS:
            whole, shown = _PARTS[search]
            more = {one.apart: len(one.every) for one in found if one.search == whole}
            own = [x for x in own if x.apart in shown and len(x.every) < more[x.apart]]
        found += own
    return found


def _differ(apart: str) -> str:
    return f"{apart}: one run, and once more" if apart == AGAIN else f"{apart} alone"


def overlaps(scores: Scores) -> Lines:
    """Rows that two tickets share, by the one thing that sets their runs apart."""
    lines = []
    for one in shared(scores):
        bounds = "—" if one.ci95 is None else "[{:.1f}, {:.1f}]".format(*one.ci95)
        lines.append([one.search, _differ(one.apart), str(len(one.every)),
                      f"{np.mean(one.each):.1f}", bounds,
                      f"{min(one.every)} to {max(one.every)}"])  # fmt: skip
    headings = ["rows chosen by", "two tickets of 18 differ by", "pairs", "rows shared", "95%",
                "range"]  # fmt: skip
    note = "95%: over languages (pairs of languages, where these differ)."
    return [*table(headings, lines, 2), note, ""] if lines else []


def overlaps_figure(scores: Scores) -> Any:
    """The same as dots with intervals; None where there are no two tickets."""
    from mt_lottery.report.figures import LEGEND, new_figure, style, whiskers

    found = shared(scores)
    if not found:
        return None
    kinds = [kind for kind in (AGAIN, *APART) if any(one.apart == kind for one in found)]
    figure, axes = new_figure(1, 1, width=6.4, height=1.2 + 0.5 * len(kinds))
    for number, search in enumerate(_SEARCHES):
        own = [one for one in found if one.search == search]
        if not own:
            continue
        means = [float(np.mean(one.each)) for one in own]
        spread = whiskers(means, [one.ci95 or (m, m) for one, m in zip(own, means, strict=True)])
        places = [kinds.index(one.apart) + 0.2 * (number - 1) for one in own]
        look = {**style(number), "linestyle": "none"}
        axes.errorbar(means, places, xerr=spread, label=search.replace("`", ""), **look)
    axes.set_yticks(
        range(len(kinds)),
        [f"{kind} alone differs".replace("nothing alone", "nothing") for kind in kinds],
    )
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.set_xlim(0, 18.5)
    axes.set_xticks(range(0, 19, 3))
    axes.set_xlabel("rows that two tickets of 18 share")
    axes.legend(**LEGEND)
    return figure
