"""Scores of arms from the rows: over seeds and languages, with intervals and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from evidence_parts.cells import MARGIN, Arm, Setting
from evidence_parts.results import Results, Row, unpacked
from evidence_parts.shown.tables import span
from mt_lottery.report.numbers import spread
from mt_lottery.scoring.metric import Floats
from mt_lottery.scoring.significance import (
    Corrected,
    ResampledScore,
    average,
    differences,
    over_seeds,
    percentile_interval,
)
from mt_lottery.scoring.verdicts import Equivalence, equivalence


@dataclass(frozen=True)
class Scores:
    """What the tables ask of the rows."""

    results: Results
    setting: Setting

    def rows(self, arm: str, lang: str) -> list[Row]:
        """The finished cells of an arm in a language, one a seed."""
        found = [self.results.rows.get((arm, lang, seed)) for seed in self.setting.seeds]
        return [row for row in found if row is not None and "scores" in row]

    def metric(self) -> str | None:
        """Key of the metric that ranks: the first one of the rows; None if there are none."""
        for row in self.results.rows.values():
            if "scores" in row:
                return str(next(iter(row["scores"])))
        return None

    def column(self, metric: str) -> str:
        """What a metric is called."""
        for row in self.results.rows.values():
            if metric in row.get("scores", ()):
                return str(row["scores"][metric].get("column", metric))
        return metric

    def of(
        self, arm: str, langs: Sequence[str], metric: str, which: str = "raw"
    ) -> ResampledScore | None:
        """An arm's score, the mean over its seeds and the languages; None where one is missing."""
        parts = []
        for lang in langs:
            rows = self.rows(arm, lang)
            if not rows:
                return None
            own = [row["scores"][metric][which] for row in rows]
            whole = np.array([each["score"] for each in own])
            each = np.array([_unpacked(one["resamples"]) for one in own])
            parts.append(over_seeds(whole, each, arm, rows[0]["text"]["test_pairs"]))
        return average(parts)

    def mean(self, arm: str, langs: Sequence[str], *path: str) -> float:
        """A number of the rows (``generation``, ``stopped``), its mean over them."""
        values: list[Any] = []
        for row in (row for lang in langs for row in self.rows(arm, lang)):
            value: Any = row
            for key in path:
                value = value[key]
            values.append(value)
        return float(np.mean(values))

    def seeds(self, arm: str, langs: Sequence[str]) -> str:
        """How many seeds: ``3``, or ``1–3`` where languages differ."""
        return span(len(self.rows(arm, lang)) for lang in langs)

    def against(
        self, arms: Sequence[str], other: str, langs: Sequence[str], metric: str
    ) -> dict[str, tuple[Corrected, Equivalence]]:
        """Each arm that is done less another one, Holm-corrected over them; and equivalence."""
        known = {arm: self.of(arm, langs, metric) for arm in dict.fromkeys([*arms, other])}
        there = {arm: score for arm, score in known.items() if score is not None}
        if other not in there:
            return {}
        gaps = differences(there, other)
        return {
            arm: (gap, equivalence(there[arm], there[other], MARGIN, gap.corrected))
            for arm, gap in gaps.items()
        }

    def langs(self, arm: str) -> list[str]:
        """The languages in which an arm is done."""
        return [x for x in self.setting.langs if self.rows(arm, x)]

    def finished(self, arms: Sequence[Arm]) -> list[str]:
        """The arms that are done in some language."""
        return [arm.name for arm in arms if self.langs(arm.name)]

    def in_all(self, arms: Iterable[str], langs: Sequence[str]) -> list[str]:
        """The arms that are done in each of the languages, which are some."""
        return [arm for arm in arms if langs and {*langs} <= {*self.langs(arm)}]

    def groups(self, arms: Sequence[Arm]) -> list[tuple[list[str], list[str]]]:
        """Over which languages to average: each choice that some arm has, more than one, and all
        the arms that have it; the most languages first."""
        names = [arm.name for arm in arms]
        choices = {tuple(langs) for langs in map(self.langs, names) if len(langs) > 1}
        return [
            ([*chosen], self.in_all(names, chosen))
            for chosen in sorted(choices, key=lambda chosen: (-len(chosen), chosen))
        ]


@lru_cache(maxsize=4096)
def _unpacked(text: str) -> Any:
    return unpacked(text)


def interval(value: float, ci: Sequence[float]) -> str:
    """``16.4 [14.7, 18.1]``, with a real minus sign."""
    return spread(value, ci).replace("-", "−")


def share(part: float, parts: Floats, whole: float, wholes: Floats) -> str:
    """``94% [92, 96]`` of a whole, with both on the resamples; — if it is not above 0 on all."""
    if wholes.min() <= 0:
        return "—"
    low, high = percentile_interval(100 * parts / wholes)
    return f"{100 * part / whole:.0f}% [{low:.0f}, {high:.0f}]".replace("-", "−")


def pvalue(gap: Corrected) -> str:
    """``p = 0.012``."""
    return f"p {'≤' if gap.least else '='} {gap.corrected:.3f}"
